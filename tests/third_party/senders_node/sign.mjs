// Run by node: signs the deliveries on standard input as each sender's own library does, and verifies one with Paddle's.
import { sign as signForGitHub } from "@octokit/webhooks-methods";
import { Paddle } from "@paddle/paddle-node-sdk";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { deliveries, paddle } = JSON.parse(Buffer.concat(chunks).toString());
const at = Math.floor(Date.now() / 1000);

const standard = (Library, prefix) => (secret, body, id) => ({
  [`${prefix}-id`]: id,
  [`${prefix}-timestamp`]: String(at),
  [`${prefix}-signature`]: new Library(secret).sign(id, new Date(at * 1000), body),
});
const senders = {
  standardwebhooks: standard(StandardWebhook, "webhook"),
  svix: standard(SvixWebhook, "svix"),
  stripe: (secret, payload) => ({
    "stripe-signature": Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: at }),
  }),
  github: async (secret, body, id) => ({
    "x-hub-signature-256": await signForGitHub(secret, body),
    "x-github-delivery": id,
    "x-github-event": "ping",
  }),
};

const signed = [];
for (const { sender, secret, body, id } of deliveries) signed.push(await senders[sender](secret, body, id));
const verified = [];
for (const { body, secret, header } of paddle) {
  verified.push(await new Paddle("unused").webhooks.isSignatureValid(body, secret, header));
}
process.stdout.write(JSON.stringify({ signed, verified }));
