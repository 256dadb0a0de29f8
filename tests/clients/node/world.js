// What the environment says of the cluster (tests/clients/suites/world.py), and clients of it.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Etcd3, isRecoverableError } from 'etcd3';

export const endpoints = process.env.QUORATE_ENDPOINTS.split(',');
export const mode = process.env.QUORATE_MODE;
export const passwords = mode === 'auth';
export const parts = process.env.QUORATE_PARTS.split(',');
const secure = mode !== 'plain';
const certificates = mode === 'tls' || mode === 'cn';

function certificate(name) {
  return readFileSync(`${process.env.QUORATE_CERTS}/${name}`);
}

function credentials(user) {
  return {
    rootCertificate: certificate('ca.pem'),
    ...(certificates && {
      certChain: certificate(`${user}.pem`),
      privateKey: certificate(`${user}.key`),
    }),
  };
}

const open = [];

/** A client of `hosts`; it lives as long as the part that asked for it. */
export function client(user = 'app', { hosts = endpoints, password = `${user}pw` } = {}) {
  const made = new Etcd3({
    hosts: hosts.map(host => `${secure ? 'https' : 'http'}://${host}`),
    ...(secure && { credentials: credentials(user) }),
    ...(passwords && { auth: { username: user, password } }),
  });
  open.push(made);
  return made;
}

export function closeClients() {
  open.splice(0).forEach(made => made.close());
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks whoever started this program, and returns when it is done. */
export async function please(...what) {
  console.log(`please: ${what.join(' ')}`);
  const { value } = await answers.next();
  if (value !== 'done') throw new Error(`asked for ${what}, heard ${value}`);
}

/** Tries until the cluster has a leader again; other errors are not for trying again. */
export async function inTheEnd(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const passing = isRecoverableError(error) || error.name === 'BrokenCircuitError'
        || /circuit|UNAVAILABLE/.test(error.message);
      if (!passing) throw error;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
}

/** The values of an emitter's events, as a queue: `take(n)` waits for the next n. */
export class Seen {
  #events = [];
  #waiting = null;

  constructor(watcher) {
    watcher.on('put', kv => this.#add(`put ${kv.key} ${kv.value}`));
    watcher.on('delete', (kv, before) => this.#add(
      `delete ${kv.key}${before ? ` was ${before.value}` : ''}`));
    watcher.on('error', error => this.#waiting?.reject(error));
  }

  #add(event) {
    this.#events.push(event);
    this.#waiting?.resolve();
  }

  get waiting() { return this.#events.length; }

  async take(count) {
    while (this.#events.length < count) {
      await new Promise((resolve, reject) => { this.#waiting = { resolve, reject }; });
    }
    this.#waiting = null;
    return this.#events.splice(0, count);
  }
}
