//! Users, what is refused to them, and tokens that end.

use crate::watches::{take, words};
use crate::world::{please, refused, Outcome, World};
use etcd_client::{
    Compare, CompareOp, GetOptions, Permission, RoleRevokePermissionOptions, Txn, TxnOp,
    UserAddOptions,
};

const DENIED: &str = "etcdserver: permission denied";

pub async fn users(world: &World) -> Outcome {
    let mut root = world.client("root").await?;
    root.role_add("maker").await?;
    refused(root.role_add("maker").await, "role name already exists");
    root.role_grant_permission("maker", Permission::read_write("made/").with_prefix()).await?;
    let permissions = root.role_get("maker").await?.permissions();
    assert_eq!((permissions[0].key(), permissions[0].is_prefix()), (&b"made/"[..], true));
    root.user_add("ann", "first", None).await?;
    root.user_add("bob", "", Some(UserAddOptions::new().with_no_pwd())).await?;
    refused(root.user_add("ann", "x", None).await, "user name already exists");
    refused(root.user_grant_role("ann", "nobody").await, "role name not found");
    root.user_grant_role("ann", "maker").await?;
    root.user_change_password("ann", "annpw").await?;
    assert_eq!(root.user_get("ann").await?.roles(), ["maker"]);
    assert!(root.user_list().await?.users().contains(&"bob".to_string()));
    assert!(root.role_list().await?.roles().contains(&"maker".to_string()));
    if world.passwords() {
        let mut ann = world.client("ann").await?;
        ann.put("made/a", "1", None).await?;
        refused(ann.put("other", "1", None).await, DENIED);
        root.user_revoke_role("ann", "maker").await?;
        refused(ann.get("made/a", None).await, DENIED);
        root.user_grant_role("ann", "maker").await?;
        assert_eq!(ann.get("made/a", None).await?.count(), 1);
    }
    let prefix = Some(RoleRevokePermissionOptions::new().with_prefix());
    root.role_revoke_permission("maker", "made/", prefix).await?;
    root.user_revoke_role("ann", "maker").await?;
    root.user_delete("ann").await?;
    root.user_delete("bob").await?;
    root.role_delete("maker").await?;
    refused(root.user_get("ann").await, "user name not found");
    Ok(())
}

pub async fn denied(world: &World) -> Outcome {
    let mut app = world.client("app").await?;
    let mut guest = world.client("guest").await?;
    app.put("guest/a", "1", None).await?;
    app.put("other", "1", None).await?;
    assert_eq!(guest.get("guest/a", None).await?.kvs()[0].value(), b"1");
    refused(guest.get("other", None).await, DENIED);
    refused(guest.get("", Some(GetOptions::new().with_all_keys())).await, DENIED);
    refused(guest.put("guest/a", "2", None).await, DENIED);
    refused(guest.delete("guest/a", None).await, DENIED);
    let look = Txn::new()
        .when([Compare::value("other", CompareOp::Equal, "1")])
        .and_then([TxnOp::get("guest/a", None)]);
    refused(guest.txn(look).await, DENIED);
    refused(guest.compact(1, None).await, DENIED);
    refused(guest.user_list().await, DENIED);
    refused(guest.defragment().await, DENIED);
    let mut watched = guest.watch("other", None).await?;
    let answer = loop {
        let answer = watched.message().await?.expect("an answer");
        if answer.canceled() {
            break answer;
        }
    };
    assert!(answer.cancel_reason().ends_with(DENIED), "{}", answer.cancel_reason());
    assert_eq!(app.get("guest/a", None).await?.kvs()[0].value(), b"1");
    if world.passwords() {
        let wrong = world.client_of(&world.endpoints, "guest", "wrong").await;
        refused(wrong.map(|_| ()), "authentication failed, invalid user ID or password");
    }
    Ok(())
}

/// The client signs in again by itself; its watch lives on.
pub async fn token(world: &World) -> Outcome {
    let mut app = world.client("app").await?;
    let mut seen = app.watch("token/a", None).await?;
    app.put("token/a", "1", None).await?;
    assert_eq!(words(&take(&mut seen, 1).await?), ["put token/a 1"]);
    please("expire app");
    app.put("token/a", "2", None).await?;
    assert_eq!(words(&take(&mut seen, 1).await?), ["put token/a 2"]);
    Ok(())
}
