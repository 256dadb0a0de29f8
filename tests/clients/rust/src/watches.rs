//! Leases and watches.

use crate::world::{refused, Outcome, World};
use etcd_client::{
    Error, Event, EventType, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions,
    WatchFilterType, WatchOptions, WatchStream,
};

/// The next `count` events.
pub async fn take(stream: &mut WatchStream, count: usize) -> Result<Vec<Event>, Error> {
    let mut found = Vec::new();
    while found.len() < count {
        let answer = stream.message().await?.expect("a watch that goes on");
        assert!(!answer.canceled(), "{}", answer.cancel_reason());
        found.extend(answer.events().iter().cloned());
    }
    assert_eq!(found.len(), count);
    Ok(found)
}

/// "put KEY VALUE" or "delete KEY", and "was VALUE".
pub fn words(events: &[Event]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let word = |event: &Event| {
        let kv = event.kv().expect("a key");
        let before = event.prev_kv().map(|kv| format!(" was {}", text(kv.value())));
        let what = match event.event_type() {
            EventType::Put => format!("put {} {}", text(kv.key()), text(kv.value())),
            EventType::Delete => format!("delete {}", text(kv.key())),
        };
        what + &before.unwrap_or_default()
    };
    events.iter().map(word).collect()
}

pub async fn lease(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let held = c.lease_grant(600, None).await?.id();
    c.put("lease/a", "1", Some(PutOptions::new().with_lease(held))).await?;
    let keys = LeaseTimeToLiveOptions::new().with_keys();
    let live = c.lease_time_to_live(held, Some(keys)).await?;
    assert_eq!((live.granted_ttl(), live.keys()), (600, &[b"lease/a".to_vec()][..]));
    let listed = world.client("root").await?.leases().await?;
    assert!(listed.leases().iter().any(|lease| lease.id() == held));
    let (mut keeper, mut kept) = c.lease_keep_alive(held).await?;
    for _ in 0..3 {
        keeper.keep_alive().await?;
        assert_eq!(kept.message().await?.expect("an answer").ttl(), 600);
    }
    c.lease_revoke(held).await?;
    assert_eq!(c.get("lease/a", None).await?.count(), 0);
    assert_eq!(c.lease_time_to_live(held, None).await?.ttl(), -1);
    refused(c.lease_revoke(held).await, "requested lease not found");
    let chosen = || Some(LeaseGrantOptions::new().with_id(4343));
    c.lease_grant(60, chosen()).await?;
    refused(c.lease_grant(60, chosen()).await, "lease already exists");
    c.lease_revoke(4343).await?;
    // The shortest lease there is, which ends by itself.
    let short = c.lease_grant(1, None).await?.id();
    let mut seen = c.watch("lease/short", None).await?;
    c.put("lease/short", "x", Some(PutOptions::new().with_lease(short))).await?;
    let events = take(&mut seen, 2).await?;
    assert_eq!(words(&events), ["put lease/short x", "delete lease/short"]);
    Ok(())
}

pub async fn watch(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let first = c.put("watch/a", "1", None).await?.header().unwrap().revision();
    c.put("watch/a", "2", None).await?;
    let from = || WatchOptions::new().with_start_revision(first);
    let all = from().with_prefix().with_prev_key().with_fragment();
    let mut old = c.watch("watch/", Some(all)).await?;
    assert_eq!(words(&take(&mut old, 2).await?), ["put watch/a 1", "put watch/a 2 was 1"]);
    let no_puts = from().with_filters([WatchFilterType::NoPut]).with_prev_key();
    let mut deletes = c.watch("watch/a", Some(no_puts)).await?;
    let no_deletes = from().with_filters([WatchFilterType::NoDelete]);
    let mut puts = c.watch("watch/a", Some(no_deletes)).await?;
    c.delete("watch/a", None).await?;
    let last = c.put("watch/a", "3", None).await?.header().unwrap().revision();
    assert_eq!(words(&take(&mut old, 2).await?), ["delete watch/a was 2", "put watch/a 3"]);
    assert_eq!(words(&take(&mut deletes, 1).await?), ["delete watch/a was 2"]);
    let puts = words(&take(&mut puts, 3).await?);
    assert_eq!(puts, ["put watch/a 1", "put watch/a 2", "put watch/a 3"]);
    // Progress is told when the watches of the stream are as far as the store.
    old.request_progress().await?;
    let told = old.message().await?.expect("an answer");
    assert_eq!(told.events().len(), 0);
    assert!(told.header().unwrap().revision() >= last);
    old.cancel(0).await?;
    assert!(old.message().await?.expect("an answer").canceled());
    Ok(())
}
