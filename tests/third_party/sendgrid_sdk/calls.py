"""
Run by the SDK's own Python, never by ours: sends mails as the vendor's own client does.

Takes the sandbox's address; its API key comes from SANDBOX_SENDGRID_KEY. Writes what it was answered as one JSON document.
"""

import json
import os
import sys

from python_http_client.exceptions import HTTPError
from sendgrid import EventWebhook, SendGridAPIClient
from sendgrid.helpers.mail import Category, CustomArg, Mail

host, webhooks = sys.argv[1], json.loads(sys.argv[2])


def client(key: str) -> SendGridAPIClient:
    return SendGridAPIClient(api_key=key, host=host)


def mail(to: str = "ada@customer.example") -> Mail:
    made = Mail(
        from_email=("orders@shop.example", "The Shop"),
        to_emails=(to, "Ada Lovelace"),
        subject="Your order 4711",
        plain_text_content="Thank you.",
        html_content="<p>Thank you.</p>",
    )
    made.add_custom_arg(CustomArg("reference", "order-4711", p=0))
    made.add_category(Category("order_confirmation"))
    return made


def refused(key: str, to: str) -> list:
    """What the SDK makes of a refusal."""
    try:
        client(key).send(mail(to))
    except HTTPError as error:
        return [error.status_code, [each["message"] for each in error.to_dict["errors"]]]
    return []


def verified(delivery: dict, **changed: str) -> bool:
    """What the SDK thinks of a delivery's signature."""
    given = {**delivery, **changed}
    webhook = EventWebhook(given["public_key"])
    return webhook.verify_signature(given["body"], given["signature"], given["timestamp"])


key = os.environ["SANDBOX_SENDGRID_KEY"]
sent = client(key).send(mail())
scopes = client(key).client.scopes.get()
json.dump(
    {
        "sent": [sent.status_code, sent.headers["X-Message-Id"]],
        "scopes": scopes.to_dict["scopes"],
        "wrong key": refused("guessed", "ada@customer.example"),
        "wrong address": refused(key, "nobody"),
        "verified": verified(webhooks),
        "forged": [
            verified(webhooks, body=webhooks["body"] + " "),
            verified(webhooks, timestamp="1600112502"),
            verified(webhooks, public_key=webhooks["other_key"]),
        ],
    },
    sys.stdout,
)
