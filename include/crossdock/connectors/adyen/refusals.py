"""
What Adyen's refusals mean for the payment: a decision against it, and whether another gateway may be asked.

Another gateway is asked where the refusal is about the way to the bank, or the bank gave no reason: its acquirer may be
answered otherwise. It is not asked where the bank or a risk check spoke about the card, the account or the customer, and
not for a code that is not in the table. Source: Adyen's pages on refusal reasons and on result codes.
"""

from __future__ import annotations

#: `refusalReasonCode` → whether another gateway may be asked.
TRY_OTHER = {
    "2": True,  # Refused: the bank gave no reason
    "3": False,  # Referral: the bank wants to be called
    "4": True,  # Acquirer Error
    "5": False,  # Blocked Card
    "6": False,  # Expired Card
    "7": False,  # Invalid Amount
    "8": False,  # Invalid Card Number
    "9": True,  # Issuer Unavailable
    "10": True,  # Not supported: this kind of transaction
    "11": False,  # 3D Not Authenticated
    "12": False,  # Not enough balance
    "14": False,  # Acquirer Fraud
    "15": False,  # Cancelled
    "16": False,  # Shopper Cancelled
    "17": False,  # Invalid Pin
    "18": False,  # Pin tries exceeded
    "19": False,  # Pin validation not possible
    "20": False,  # FRAUD
    "21": True,  # Not Submitted
    "22": False,  # FRAUD-CANCELLED
    "23": False,  # Transaction Not Permitted
    "24": False,  # CVC Declined
    "25": False,  # Restricted Card
    "26": False,  # Revocation Of Auth
    "27": True,  # Declined Non Generic: the bank's reason has no word of Adyen's
    "28": False,  # Withdrawal amount exceeded
    "29": False,  # Withdrawal count exceeded
    "31": False,  # Issuer Suspected Fraud
    "32": False,  # AVS Declined
    "33": False,  # Card requires online pin
    "34": False,  # No checking account available on Card
    "35": False,  # No savings account available on Card
    "36": False,  # Mobile pin required
    "37": False,  # Contactless fallback
    "38": False,  # Authentication required: the customer has to take part
    "39": True,  # RReq not received from DS: the 3D Secure server failed
    "40": False,  # Current AID is in Penalty Box
    "41": False,  # CVM Required Restart Payment
    "42": True,  # 3DS Authentication Error
    "46": False,  # Transaction blocked by Adyen to prevent excessive retry fees
}

#: `resultCode`s that end the payment without an authorisation. An error is final too: its key would give it again.
DECISIONS = frozenset({"Refused", "Cancelled", "Error"})
#: Types of an error with a status from 500 on, by which Adyen has refused the request and not failed at it.
SETTLED_TYPES = frozenset({"validation", "security", "configuration"})


def may_try_other(result_code: str, refusal_code: str | None) -> bool:
    """Decide whether another gateway may be asked after a decision."""
    if refusal_code is None or refusal_code not in TRY_OTHER:
        # An error has no decision of the bank behind it, whatever its code.
        return result_code == "Error"
    return TRY_OTHER[refusal_code]
