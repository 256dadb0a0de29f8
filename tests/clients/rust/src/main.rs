//! Rust's etcd-client against a cluster: tests/clients/suites/parts.py says what, world.py how it
//! reports. What is not as expected panics.

mod cluster;
mod keys;
mod rivals;
mod users;
mod watches;
mod world;

use world::{Outcome, World};

async fn run(part: &str, world: &World) -> Outcome {
    match part {
        "kv" => keys::kv(world).await,
        "txn" => keys::txn(world).await,
        "compaction" => keys::compaction(world).await,
        "lease" => watches::lease(world).await,
        "watch" => watches::watch(world).await,
        "lock" => rivals::lock(world).await,
        "election" => rivals::election(world).await,
        "namespace" => rivals::namespace(world).await,
        "users" => users::users(world).await,
        "denied" => users::denied(world).await,
        "token" => users::token(world).await,
        "maintenance" => cluster::maintenance(world).await,
        "members" => cluster::members(world).await,
        "failover" => cluster::failover(world).await,
        _ => panic!("no such part: {part}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let world = World::from_environment();
    for part in world::setting("QUORATE_PARTS").split(',') {
        if let Err(error) = run(part, &world).await {
            eprintln!("{}: {part}: {error}", world.mode);
            std::process::exit(1);
        }
        println!("as expected: {part}");
    }
}
