//! Keys, transactions, compaction.

use crate::world::{refused, Outcome, World};
use etcd_client::{
    CompactionOptions, Compare, CompareOp, DeleteOptions, EventType, GetOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};

pub async fn kv(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let first = c.put("kv/a", "1", None).await?.header().unwrap().revision();
    let second = c.put("kv/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(second.prev_key().unwrap().value(), b"1");
    c.put("kv/a", "", Some(PutOptions::new().with_ignore_value())).await?;
    let got = c.get("kv/a", None).await?;
    assert_eq!((got.kvs()[0].value(), got.kvs()[0].version()), (&b"2"[..], 3));
    let old = c.get("kv/a", Some(GetOptions::new().with_revision(first))).await?;
    assert_eq!(old.kvs()[0].value(), b"1");
    for i in 0..10 {
        c.put(format!("kv/list/{i}"), (9 - i).to_string(), None).await?;
    }
    let list = || GetOptions::new().with_prefix();
    let counted = c.get("kv/list/", Some(list().with_count_only())).await?;
    assert_eq!((counted.count(), counted.kvs().len()), (10, 0));
    let limited = c.get("kv/list/", Some(list().with_limit(3))).await?;
    assert_eq!((limited.kvs().len(), limited.more(), limited.count()), (3, true, 10));
    let by_value = list().with_sort(SortTarget::Value, SortOrder::Ascend).with_keys_only();
    assert_eq!(c.get("kv/list/", Some(by_value)).await?.kvs()[0].key(), b"kv/list/9");
    let local = list().with_serializable();
    assert_eq!(c.get("kv/list/", Some(local)).await?.kvs().len(), 10);
    let range = GetOptions::new().with_range("kv/list/7");
    assert_eq!(c.get("kv/list/3", Some(range)).await?.kvs().len(), 4);
    let made_before = list().with_max_create_revision(first);
    assert_eq!(c.get("kv/", Some(made_before)).await?.kvs().len(), 1);
    let mut stream = c.kv_client().get_stream("kv/list/", Some(list())).await?;
    let mut streamed = 0;
    while let Some(chunk) = stream.message().await? {
        streamed += chunk.kvs().len();
    }
    assert_eq!(streamed, 10);
    let gone = c.delete("kv/a", Some(DeleteOptions::new().with_prev_key())).await?;
    assert_eq!((gone.deleted(), gone.prev_kvs()[0].value()), (1, &b"2"[..]));
    assert_eq!(c.delete("kv/", Some(DeleteOptions::new().with_prefix())).await?.deleted(), 10);
    let future = GetOptions::new().with_revision(first + 1_000_000);
    refused(c.get("kv/a", Some(future)).await, "required revision is a future revision");
    refused(c.put("", "x", None).await, "key is not provided");
    Ok(())
}

pub async fn txn(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    c.put("txn/a", "1", None).await?;
    let inner = Txn::new()
        .when([Compare::value("txn/b", CompareOp::NotEqual, "x")])
        .or_else([TxnOp::get("txn/b", None)]);
    let done = c
        .txn(
            Txn::new()
                .when([
                    Compare::value("txn/a", CompareOp::Equal, "1"),
                    Compare::version("txn/a", CompareOp::Greater, 0),
                    Compare::create_revision("txn/none", CompareOp::Equal, 0),
                    Compare::mod_revision("txn/a", CompareOp::NotEqual, 0),
                    Compare::lease("txn/a", CompareOp::Equal, 0),
                    Compare::value("txn/", CompareOp::Greater, "0").with_prefix(),
                ])
                .and_then([
                    TxnOp::put("txn/b", "x", None),
                    TxnOp::get("txn/a", None),
                    TxnOp::delete("txn/none", None),
                    TxnOp::txn(inner),
                ])
                .or_else([TxnOp::put("txn/c", "y", None)]),
        )
        .await?;
    assert!(done.succeeded());
    let answers = done.op_responses();
    assert!(matches!(&answers[1], TxnOpResponse::Get(got) if got.kvs()[0].value() == b"1"));
    assert!(matches!(&answers[2], TxnOpResponse::Delete(gone) if gone.deleted() == 0));
    assert!(matches!(&answers[3], TxnOpResponse::Txn(nested) if !nested.succeeded()));
    let other = Txn::new()
        .when([Compare::value("txn/a", CompareOp::Less, "1")])
        .or_else([TxnOp::get("txn/b", None)]);
    assert!(!c.txn(other).await?.succeeded());
    let twice = Txn::new().and_then([TxnOp::put("d", "1", None), TxnOp::put("d", "2", None)]);
    refused(c.txn(twice).await, "duplicate key given in txn request");
    Ok(())
}

pub async fn compaction(world: &World) -> Outcome {
    let mut c = world.client("app").await?;
    let mut revisions = Vec::new();
    for i in 0..10 {
        let put = c.put("compact/a", i.to_string(), None).await?;
        revisions.push(put.header().unwrap().revision());
    }
    let mut root = world.client("root").await?;
    root.compact(revisions[5], Some(CompactionOptions::new().with_physical())).await?;
    refused(root.compact(revisions[5], None).await, "required revision has been compacted");
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    refused(c.get("compact/a", at(revisions[2])).await, "required revision has been compacted");
    assert_eq!(c.get("compact/a", at(revisions[5])).await?.kvs()[0].value(), b"5");
    for endpoint in &world.endpoints {
        let mut c = world.client_at(endpoint, "app").await?;
        let from = |revision| Some(WatchOptions::new().with_start_revision(revision));
        let mut gone = c.watch("compact/a", from(revisions[2])).await?;
        let canceled = loop {
            let answer = gone.message().await?.expect("an answer");
            if answer.canceled() {
                break answer;
            }
        };
        assert_eq!(canceled.compact_revision(), revisions[5]);
        let mut there = c.watch("compact/a", from(revisions[6])).await?;
        let events = crate::watches::take(&mut there, 4).await?;
        assert_eq!(events[0].kv().unwrap().value(), b"6");
        assert_eq!(events[3].event_type(), EventType::Put);
    }
    Ok(())
}
