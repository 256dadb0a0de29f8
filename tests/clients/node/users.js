// Users, what is refused to them, and tokens that end.
import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import {
  EtcdAuthenticationFailedError, EtcdPermissionDeniedError, EtcdRoleExistsError,
  EtcdRoleNotFoundError, EtcdUserExistsError, EtcdUserNotFoundError,
} from 'etcd3';
import { Seen, client, passwords, please } from './world.js';

export async function users() {
  const root = client('root');
  const range = root.range({ prefix: 'made/' });
  const maker = await root.role('maker').create();
  await rejects(root.role('maker').create(), EtcdRoleExistsError);
  await maker.grant({ permission: 'Readwrite', range });
  deepEqual(await maker.permissions(), [{ permission: 'Readwrite', range }]);
  const ann = await root.user('ann').create('first');
  await rejects(root.user('ann').create('x'), EtcdUserExistsError);
  await rejects(ann.addRole('nobody'), EtcdRoleNotFoundError);
  await ann.addRole(maker);
  await ann.setPassword('annpw');
  deepEqual((await ann.roles()).map(role => role.name), ['maker']);
  ok((await root.getUsers()).some(user => user.name === 'ann'));
  ok((await root.getRoles()).some(role => role.name === 'maker'));
  if (passwords) {
    const mine = client('ann');
    await mine.put('made/a').value('1');
    await rejects(mine.put('other').value('1').exec(), EtcdPermissionDeniedError);
    await ann.removeRole(maker);
    await rejects(mine.get('made/a').string(), EtcdPermissionDeniedError);
    await ann.addRole(maker);
    equal(await mine.get('made/a'), '1');
  }
  await maker.revoke({ permission: 'Readwrite', range });
  await ann.removeRole(maker);
  await ann.delete();
  await maker.delete();
  await rejects(ann.roles(), EtcdUserNotFoundError);
}

export async function denied() {
  const app = client();
  const guest = client('guest');
  await app.put('guest/a').value('1');
  await app.put('other').value('1');
  equal(await guest.get('guest/a'), '1');
  for (const call of [
    () => guest.get('other').string(), () => guest.getAll().all().strings(),
    () => guest.put('guest/a').value('2').exec(), () => guest.delete().key('guest/a').exec(),
    () => guest.if('other', 'Value', '==', '1').then(guest.get('guest/a')).commit(),
    () => guest.maintenance.defragment(), () => guest.getUsers(),
    () => guest.watch().key('other').create(),
  ]) await rejects(call, EtcdPermissionDeniedError);
  equal(await app.get('guest/a'), '1');
  if (passwords) {
    await rejects(client('guest', { password: 'wrong' }).get('guest/a').string(),
      EtcdAuthenticationFailedError);
  }
}

/** The client signs in again by itself; its watch lives on. */
export async function token() {
  const app = client();
  const seen = new Seen(await app.watch().key('token/a').create());
  await app.put('token/a').value('1');
  await please('expire', 'app');
  await app.put('token/a').value('2');
  deepEqual(await seen.take(2), ['put token/a 1', 'put token/a 2']);
}
