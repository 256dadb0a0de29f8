//! Members: their state, who they are, and what is left when one dies.

use crate::world::{in_the_end, please, refused, Outcome, World};
use etcd_client::{
    AlarmAction, AlarmType, Error, GetOptions, MemberAddOptions, StatusResponse,
};

/// The state of every member, and the end point of the leader.
async fn statuses(world: &World) -> Result<(Vec<StatusResponse>, String), Error> {
    let mut states = Vec::new();
    let mut leader = String::new();
    for endpoint in &world.endpoints {
        let status = world.client_at(endpoint, "root").await?.status().await?;
        if status.leader() == status.header().unwrap().member_id() {
            leader = endpoint.clone();
        }
        states.push(status);
    }
    Ok((states, leader))
}

pub async fn maintenance(world: &World) -> Outcome {
    let (states, leader) = statuses(world).await?;
    assert!(states.iter().all(|s| s.leader() == states[0].leader() && s.version() == "3.7.1"));
    let mut root = world.client_at(&leader, "root").await?;
    let now = root.get("none", None).await?.header().unwrap().revision();
    let mut hashes = Vec::new();
    for endpoint in &world.endpoints {
        let mut member = world.client_at(endpoint, "root").await?;
        member.get("none", None).await?; // by then it is as far
        hashes.push(member.hash_kv(now).await?.hash());
        member.defragment().await?;
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let alarms = root.alarm(AlarmAction::Get, AlarmType::None, None).await?;
    assert_eq!(alarms.alarms().len(), 0);
    let mut snapshot = root.snapshot().await?;
    let mut bytes = 0;
    while let Some(piece) = snapshot.message().await? {
        bytes += piece.blob().len();
    }
    assert_eq!(bytes % 512, 32, "pages and a checksum");
    let id = |state: &StatusResponse| state.header().unwrap().member_id();
    let heir = states.iter().map(id).find(|member| *member != states[0].leader()).unwrap();
    root.move_leader(heir).await?;
    assert_eq!(root.status().await?.leader(), heir);
    Ok(())
}

pub async fn members(world: &World) -> Outcome {
    let (_, leader) = statuses(world).await?;
    let root = world.client_at(&leader, "root").await?;
    let mut asks = root.clone();
    let listed = asks.member_list().await?;
    let mut names: Vec<&str> = listed.members().iter().map(|member| member.name()).collect();
    names.sort();
    assert_eq!(names, ["m0", "m1", "m2"]);
    // Not before all are connected.
    let late = in_the_end(|| {
        let mut root = root.clone();
        let learner = MemberAddOptions::new().with_is_learner();
        async move { root.member_add(["http://127.0.0.1:1"], Some(learner)).await }
    })
    .await?;
    let late = late.member().expect("the new one");
    assert!(late.is_learner());
    let early = asks.member_promote(late.id()).await;
    refused(early, "can only promote a learner member which is in sync with leader");
    asks.member_update(late.id(), ["http://127.0.0.1:2".to_string()]).await?;
    asks.member_remove(late.id()).await?;
    refused(asks.member_remove(late.id()).await, "member not found");
    Ok(())
}

/// Every member dies once, and writes go on. A watch ends with its member: this client leaves it to
/// its user to begin again from the next revision, which the keys' history stands for here.
pub async fn failover(world: &World) -> Outcome {
    let c = in_the_end(|| world.client("app")).await?;
    let mut revisions = Vec::new();
    for (turn, endpoint) in world.endpoints.iter().enumerate() {
        please(&format!("kill {endpoint}"));
        let put = in_the_end(|| {
            let mut c = c.clone();
            async move { c.put("failover/a", turn.to_string(), None).await }
        })
        .await?;
        revisions.push(put.header().unwrap().revision());
        please(&format!("start {endpoint}"));
    }
    for (turn, revision) in revisions.iter().enumerate() {
        let got = in_the_end(|| {
            let mut c = c.clone();
            let at = GetOptions::new().with_revision(*revision);
            async move { c.get("failover/a", Some(at)).await }
        })
        .await?;
        assert_eq!(got.kvs()[0].value_str()?, turn.to_string());
    }
    Ok(())
}
