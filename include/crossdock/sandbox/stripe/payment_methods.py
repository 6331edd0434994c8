"""The vendor's documented test payment methods, and what comes of a payment with each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaymentMethod:
    """A test card."""

    brand: str = "visa"
    last4: str = "4242"
    #: The code of the card error, and its decline code where that is another.
    error: str | None = None
    decline: str | None = None
    message: str = "Your card was declined."
    #: Whether the customer has to authenticate first.
    authenticates: bool = False
    #: The reason of the dispute that follows the capture.
    dispute: str | None = None
    #: Whether the dispute is only an inquiry, which moves no money.
    inquiry: bool = False
    #: The state of a refund at first, and in the end.
    refund: tuple[str, str] = ("succeeded", "succeeded")


def _declined(decline: str, *, message: str = "Your card was declined.", last4: str = "0002") -> PaymentMethod:
    return PaymentMethod(last4=last4, error="card_declined", decline=decline, message=message)


PAYMENT_METHODS = {
    "pm_card_visa": PaymentMethod(),
    "pm_card_visa_debit": PaymentMethod(last4="5556"),
    "pm_card_mastercard": PaymentMethod("mastercard", "4444"),
    "pm_card_amex": PaymentMethod("amex", "8431"),
    "pm_card_visa_chargeDeclined": _declined("generic_decline"),
    "pm_card_chargeDeclined": _declined("generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _declined(
        "insufficient_funds", message="Your card has insufficient funds.", last4="9995"
    ),
    "pm_card_chargeDeclinedInsufficientFunds": _declined(
        "insufficient_funds", message="Your card has insufficient funds.", last4="9995"
    ),
    "pm_card_visa_chargeDeclinedLostCard": _declined("lost_card", last4="9987"),
    "pm_card_visa_chargeDeclinedStolenCard": _declined("stolen_card", last4="9979"),
    "pm_card_visa_chargeDeclinedFraudulent": _declined("fraudulent", last4="0019"),
    "pm_card_radarBlock": _declined("fraudulent", last4="0019"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": _declined("card_velocity_exceeded", last4="6975"),
    "pm_card_visa_chargeDeclinedDoNotHonor": _declined("do_not_honor"),
    "pm_card_visa_chargeDeclinedIssuerNotAvailable": _declined("issuer_not_available"),
    "pm_card_chargeDeclinedExpiredCard": PaymentMethod(
        last4="0069", error="expired_card", message="Your card has expired."
    ),
    "pm_card_chargeDeclinedIncorrectCvc": PaymentMethod(
        last4="0127", error="incorrect_cvc", message="Your card's security code is incorrect."
    ),
    "pm_card_chargeDeclinedProcessingError": PaymentMethod(
        last4="0119", error="processing_error", message="An error occurred while processing your card."
    ),
    "pm_card_threeDSecure2Required": PaymentMethod(last4="3220", authenticates=True),
    "pm_card_threeDSecureRequired": PaymentMethod(last4="3063", authenticates=True),
    "pm_card_authenticationRequired": PaymentMethod(last4="3184", authenticates=True),
    "pm_card_createDispute": PaymentMethod(last4="0259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": PaymentMethod(last4="2685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": PaymentMethod(last4="1976", dispute="fraudulent", inquiry=True),
    "pm_card_pendingRefund": PaymentMethod(last4="7726", refund=("pending", "succeeded")),
    "pm_card_refundFail": PaymentMethod(last4="5126", refund=("succeeded", "failed")),
}
