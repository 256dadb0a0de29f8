// Node's etcd3 against a cluster: tests/clients/suites/parts.py says what, world.py how it reports.
import * as cluster from './cluster.js';
import * as keys from './keys.js';
import * as rivals from './rivals.js';
import * as users from './users.js';
import { closeClients, mode, parts } from './world.js';

const suite = { ...cluster, ...keys, ...rivals, ...users };

for (const part of parts) {
  try {
    await suite[part]();
  } catch (error) {
    console.error(`${mode}: ${part}:`, error);
    process.exit(1);
  }
  closeClients();
  console.log(`as expected: ${part}`);
}
process.exit(0);
