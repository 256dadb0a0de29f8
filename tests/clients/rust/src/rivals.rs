//! Locks and elections (on the server), and keys under a prefix.

use crate::world::{Outcome, World};
use etcd_client::{
    Client, Compare, CompareOp, Error, GetOptions, KvClientPrefix, LeaseClientPrefix,
    LeaseTimeToLiveOptions, LockOptions, ProclaimOptions, PutOptions, ResignOptions, Txn, TxnOp,
};

async fn count_under_lock(mut c: Client, rounds: usize) -> Result<(), Error> {
    let lease = c.lease_grant(60, None).await?.id();
    for _ in 0..rounds {
        let held = c.lock("lock/suite", Some(LockOptions::new().with_lease(lease))).await?;
        let got = c.get("lock/count", None).await?;
        let number: usize = got.kvs()[0].value_str()?.parse().expect("a number");
        c.put("lock/count", (number + 1).to_string(), None).await?;
        c.unlock(held.key()).await?;
    }
    c.lease_revoke(lease).await?;
    Ok(())
}

pub async fn lock(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    c.put("lock/count", "0", None).await?;
    let (a, b, other) = (c.clone(), c.clone(), world.client("app").await?);
    tokio::try_join!(
        count_under_lock(a, 5),
        count_under_lock(b, 5),
        count_under_lock(other, 5)
    )?;
    assert_eq!(c.get("lock/count", None).await?.kvs()[0].value(), b"15");
    Ok(())
}

pub async fn election(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let lease = c.lease_grant(60, None).await?.id();
    let first = c.campaign("election", "first", lease).await?;
    let key = first.leader().expect("a key").clone();
    assert_eq!(c.leader("election").await?.kv().unwrap().value(), b"first");
    // Not before: the call comes back when there is a leader to tell of.
    let mut observer = world.client("app").await?.observe("election").await?;
    let mut other = world.client("app").await?;
    let other_lease = other.lease_grant(60, None).await?.id();
    let second = async {
        let won = other.campaign("election", "second", other_lease).await?;
        Ok::<_, Error>(won.leader().expect("a key").clone())
    };
    let watched = async {
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some("second") {
            let leader = observer.message().await?.expect("an observer that goes on");
            let value = leader.kv().unwrap().value_str()?.to_string();
            if value == "first" {
                let options = ProclaimOptions::new().with_leader(key.clone());
                c.proclaim("first again", Some(options)).await?;
            }
            if value == "first again" {
                c.resign(Some(ResignOptions::new().with_leader(key.clone()))).await?;
            }
            seen.push(value);
        }
        Ok::<_, Error>(seen)
    };
    let (next, seen) = tokio::try_join!(second, watched)?;
    assert_eq!(seen, ["first", "first again", "second"]);
    other.resign(Some(ResignOptions::new().with_leader(next))).await?;
    Ok(())
}

pub async fn namespace(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let mut kv = KvClientPrefix::new(c.kv_client(), "space/".into());
    let lease = c.lease_grant(60, None).await?.id();
    kv.put("a", "1", Some(PutOptions::new().with_lease(lease))).await?;
    assert_eq!(c.get("space/a", None).await?.kvs()[0].value(), b"1");
    let inside = kv.get("", Some(GetOptions::new().with_prefix())).await?;
    assert_eq!((inside.kvs().len(), inside.kvs()[0].key()), (1, &b"a"[..]));
    let done = kv
        .txn(
            Txn::new()
                .when([Compare::value("a", CompareOp::Equal, "1")])
                .and_then([TxnOp::put("b", "2", None)]),
        )
        .await?;
    assert!(done.succeeded());
    assert_eq!(c.get("space/b", None).await?.count(), 1);
    let keys = Some(LeaseTimeToLiveOptions::new().with_keys());
    let mut leases = LeaseClientPrefix::new(c.lease_client(), "space/".into());
    assert_eq!(leases.time_to_live(lease, keys).await?.keys(), [b"a".to_vec()]);
    assert_eq!(kv.delete("b", None).await?.deleted(), 1);
    c.lease_revoke(lease).await?;
    Ok(())
}
