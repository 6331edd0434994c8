"""The stored payment methods: each name says what becomes of a payment with it."""

from dataclasses import dataclass

#: Whose methods they are; another customer has none.
SHOPPER = "customer-1"


@dataclass(frozen=True)
class StoredMethod:
    """How a payment with the method ends."""

    result_code: str = "Authorised"
    refusal: tuple[str, str] | None = None
    #: Whether the scheme rejects a capture or a refund that had succeeded.
    capture_fails: bool = False
    refund_fails: bool = False


STORED_METHODS = {
    "stored_authorised": StoredMethod(),
    "stored_refused": StoredMethod("Refused", ("2", "Refused")),
    "stored_refused_balance": StoredMethod("Refused", ("12", "Not enough balance")),
    "stored_refused_fraud": StoredMethod("Refused", ("20", "FRAUD")),
    "stored_cancelled": StoredMethod("Cancelled", ("15", "Cancelled")),
    "stored_error": StoredMethod("Error", ("4", "Acquirer Error")),
    "stored_redirect": StoredMethod("RedirectShopper"),
    "stored_challenge": StoredMethod("ChallengeShopper"),
    "stored_pending": StoredMethod("Pending"),
    "stored_capture_fails": StoredMethod(capture_fails=True),
    "stored_refund_fails": StoredMethod(refund_fails=True),
}
