// Keys, transactions, leases and watches.
import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { once } from 'node:events';
import { EtcdLeaseInvalidError } from 'etcd3';
import { Seen, client } from './world.js';

export async function kv() {
  const c = client();
  const first = await c.put('kv/a').value('1');
  equal((await c.put('kv/a').value('2').getPrevious()).value.toString(), '1');
  equal(await c.get('kv/a').string(), '2');
  equal(await c.get('kv/a').number(), 2);
  equal(await c.get('kv/a').revision(first.header.revision), '1');
  equal(await c.get('kv/a').serializable(true).exists(), true);
  equal(await c.get('kv/none'), null);
  await c.put('kv/a').touch();
  const { kvs: [meta] } = await c.get('kv/a').exec();
  deepEqual([meta.version, meta.value.toString()], ['3', '2']);
  for (let i = 0; i < 10; i++) await c.put(`kv/list/${i}`).value(9 - i);
  const list = () => c.getAll().prefix('kv/list/');
  equal(await list().count(), 10);
  deepEqual(await list().limit(2).strings(), { 'kv/list/0': '9', 'kv/list/1': '8' });
  deepEqual(await list().sort('Value', 'Ascend').limit(2).keys(), ['kv/list/9', 'kv/list/8']);
  deepEqual(await list().sort('Key', 'Descend').limit(1).keys(), ['kv/list/9']);
  equal((await c.getAll().inRange({ start: 'kv/list/3', end: 'kv/list/7' }).keys()).length, 4);
  equal((await list().minModRevision(meta.mod_revision)).toString(), (await list()).toString());
  equal((await list().maxCreateRevision(first.header.revision).keys()).length, 0);
  equal((await c.delete().key('kv/a').getPrevious())[0].value.toString(), '2');
  equal((await c.delete().range(c.range({ start: 'kv/list/0', end: 'kv/list/5' }))).deleted, '5');
  equal((await c.delete().prefix('kv/')).deleted, '5');
  await rejects(c.get('kv/a').revision(1e9).string(), /required revision is a future revision/);
}

export async function txn() {
  const c = client();
  await c.put('txn/a').value('1');
  const done = await c.if('txn/a', 'Value', '==', '1').and('txn/a', 'Version', '>', 0)
    .and('txn/none', 'Create', '==', 0).and('txn/a', 'Mod', '!=', 0).and('txn/a', 'Lease', '==', 0)
    .then(c.put('txn/b').value('x'), c.get('txn/a'), c.delete().key('txn/none'))
    .else(c.put('txn/c').value('y')).commit();
  ok(done.succeeded);
  equal(done.responses[1].response_range.kvs[0].value.toString(), '1');
  const other = await c.if('txn/a', 'Value', '<', '1').then(c.get('txn/a'))
    .else(c.get('txn/b'), c.put('txn/c').value('y')).commit();
  deepEqual([other.succeeded, other.responses.length], [false, 2]);
  await rejects(c.if('txn/a', 'Version', '>', 0)
    .then(c.put('txn/d').value('1'), c.put('txn/d').value('2')).commit(),
  /duplicate key given in txn request/);
  // Read and written by two at once: who loses begins again.
  await c.put('txn/count').value(0);
  const add = () => c.stm({ retries: 100 })
    .transact(async tx => tx.put('txn/count').value((await tx.get('txn/count').number()) + 1));
  await Promise.all(Array.from({ length: 8 }, add));
  equal(await c.get('txn/count').number(), 8);
}

export async function lease() {
  const c = client();
  const held = c.lease(60, { autoKeepAlive: false });
  await held.put('lease/a').value('1');
  const id = await held.grant();
  const live = await c.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  deepEqual([live.grantedTTL, live.keys.map(String)], ['60', ['lease/a']]);
  equal((await held.keepaliveOnce()).TTL, '60');
  ok((await client('root').leaseClient.leaseLeases()).leases.some(one => one.ID === id));
  await held.revoke();
  equal(await c.get('lease/a'), null);
  await rejects(held.keepaliveOnce(), EtcdLeaseInvalidError);
  const kept = c.lease(2); // renewed by the client
  await kept.grant();
  await once(kept, 'keepaliveSucceeded');
  await once(kept, 'keepaliveSucceeded');
  await kept.revoke();
  const seen = new Seen(await c.watch().key('lease/short').create());
  const short = c.lease(1, { autoKeepAlive: false });
  await short.put('lease/short').value('x');
  deepEqual(await seen.take(2), ['put lease/short x', 'delete lease/short']);
}

export async function watch() {
  const c = client();
  const first = await c.put('watch/a').value('1');
  await c.put('watch/a').value('2');
  const old = new Seen(await c.watch().prefix('watch/').withPreviousKV()
    .startRevision(first.header.revision).create());
  deepEqual(await old.take(2), ['put watch/a 1', 'put watch/a 2']);
  const only = new Seen(await c.watch().key('watch/a').only('delete').withPreviousKV().create());
  // In this library `ignore` keeps what it is given and leaves out the other kind.
  const watcher = await c.watch().key('watch/a').ignore('put').create();
  const puts = new Seen(watcher);
  await c.delete().key('watch/a');
  await c.put('watch/a').value('3');
  deepEqual(await only.take(1), ['delete watch/a was 2']);
  deepEqual(await puts.take(1), ['put watch/a 3']);
  deepEqual(await old.take(2), ['delete watch/a was 2', 'put watch/a 3']);
  await watcher.cancel();
  await c.put('watch/a').value('4');
  deepEqual(await old.take(1), ['put watch/a 4']);
  equal(puts.waiting, 0);
}

export async function compaction() {
  const c = client();
  const revisions = [];
  for (let i = 0; i < 10; i++) {
    revisions.push((await c.put('compact/a').value(i)).header.revision);
  }
  const root = client('root');
  await root.kv.compact({ revision: revisions[5], physical: true });
  await rejects(root.kv.compact({ revision: revisions[5] }), /required revision has been compacted/);
  await rejects(c.get('compact/a').revision(revisions[2]).string(),
    /required revision has been compacted/);
  equal(await c.get('compact/a').revision(revisions[5]), '5');
  // The watch of a revision that is gone goes on from the first that is there.
  const seen = new Seen(await c.watch().key('compact/a').startRevision(revisions[6]).create());
  deepEqual(await seen.take(2), ['put compact/a 6', 'put compact/a 7']);
}
