"""The contacts of the CRM, generated from a seed."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crossdock.sandbox.engine.clock import text_of

_FIRST = ("Amara", "Bruno", "Carla", "Deniz", "Elif", "Frida", "Goran", "Hanna", "Idris", "Jana", "Kofi", "Léa")
_LAST = ("Almeida", "Becker", "Castro", "Demir", "Ekholm", "Farkas", "Grant", "Horváth", "Ito", "Jansen", "O'Brien")
_COMPANIES = ("Aurora Retail", "Bakkerij Smit", "Cobalt & Sons", "", "")
_LANGUAGES = ("en", "de", "fr")
_FIRST_CREATED = datetime(2026, 1, 5, 9, tzinfo=UTC)

#: Sent for each contact, asked for or not.
ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
#: Sent too when a request names no properties.
DEFAULT = ("email", "firstname", "lastname")


@dataclass(frozen=True)
class Contact:
    id: str
    properties: dict[str, str]
    created_at: str
    updated_at: str


def contacts(seed: int, count: int) -> list[Contact]:
    """Generate *count* contacts in the order of their IDs; the same for the same seed."""
    rng = random.Random(seed)
    return [_contact(rng, number) for number in range(count)]


def _contact(rng: random.Random, number: int) -> Contact:
    created = _FIRST_CREATED + timedelta(minutes=37 * number, milliseconds=rng.randrange(1000))
    updated = created + timedelta(seconds=rng.randrange(86_400))
    contact_id = str(51 + 50 * number)
    return Contact(
        id=contact_id,
        created_at=text_of(created),
        updated_at=text_of(updated),
        properties={
            "email": f"contact{number:05d}@crm.example",
            "firstname": rng.choice(_FIRST),
            "lastname": rng.choice(_LAST),
            "company": rng.choice(_COMPANIES),
            "hs_language": rng.choice(_LANGUAGES),
            "createdate": text_of(created),
            "lastmodifieddate": text_of(updated),
            "hs_object_id": contact_id,
        },
    )
