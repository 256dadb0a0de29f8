// Locks, elections and namespaces.
import { deepEqual, equal, rejects } from 'node:assert/strict';
import { once } from 'node:events';
import { EtcdLockFailedError } from 'etcd3';
import { client } from './world.js';

export async function lock() {
  const c = client();
  await c.put('lock/count').value(0);
  const rounds = 5;
  const rival = async () => {
    const mine = client();
    for (let done = 0; done < rounds;) {
      try {
        await mine.lock('lock/suite').ttl(60).do(async () => {
          await mine.put('lock/count').value((await mine.get('lock/count').number()) + 1);
        });
        done++;
      } catch (error) { // the library tries once
        if (!(error instanceof EtcdLockFailedError)) throw error;
      }
    }
  };
  await Promise.all([rival(), rival(), rival()]);
  equal(await c.get('lock/count').number(), 3 * rounds);
  const held = await c.lock('lock/suite').acquire();
  await rejects(client().lock('lock/suite').acquire(), EtcdLockFailedError);
  await held.release();
}

export async function election() {
  const observer = await client().election('suite').observe();
  const leaders = [];
  observer.on('change', value => leaders.push(value));
  const contest = client().election('suite');
  const first = contest.campaign('first');
  await first.wait();
  while (observer.leader() !== 'first') await once(observer, 'change');
  const second = client().election('suite').campaign('second');
  await second.getCampaignKey();
  equal(await contest.leader(), 'first');
  await first.proclaim('first again');
  while (observer.leader() !== 'first again') await once(observer, 'change');
  const elected = once(second, 'elected');
  await first.resign();
  await elected;
  while (observer.leader() !== 'second') await once(observer, 'change');
  await second.resign();
  await observer.cancel();
  deepEqual(leaders.slice(0, 2), ['first', 'first again']);
}

export async function namespace() {
  const c = client();
  const inner = c.namespace('space/');
  await inner.put('a').value('1');
  equal(await c.get('space/a'), '1');
  deepEqual(await inner.getAll(), { a: '1' });
  const { succeeded } = await inner.if('a', 'Value', '==', '1').then(inner.put('b').value('2'))
    .commit();
  equal(succeeded, true);
  deepEqual(await inner.getAll().keys(), ['a', 'b']);
  const watcher = await inner.watch().key('a').create();
  const [[kv]] = await Promise.all([once(watcher, 'put'), inner.put('a').value('3')]);
  equal(kv.key.toString(), 'a');
  equal((await inner.delete().all()).deleted, '2');
}
