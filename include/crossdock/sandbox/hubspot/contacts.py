"""The contacts of the CRM, generated from a seed."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crossdock.sandbox.engine.clock import text_of
from crossdock.sandbox.hubspot.properties import ALWAYS, DEFAULT

_FIRST = ("Amara", "Bruno", "Carla", "Deniz", "Elif", "Frida", "Goran", "Hanna", "Idris", "Jana", "Kofi", "Léa")
_LAST = ("Almeida", "Becker", "Castro", "Demir", "Ekholm", "Farkas", "Grant", "Horváth", "Ito", "Jansen", "O'Brien")
_COMPANIES = ("Aurora Retail", "Bakkerij Smit", "Cobalt & Sons", "", "")
_LANGUAGES = ("en", "de", "fr")
_FIRST_CREATED = datetime(2026, 1, 5, 9, tzinfo=UTC)
#: How far the IDs of two contacts are apart.
ID_STEP = 50


@dataclass(frozen=True)
class Contact:
    id: str
    properties: dict[str, str]
    created_at: str
    updated_at: str

    def document(self, names: tuple[str, ...] = DEFAULT) -> dict[str, Any]:
        """Describe the contact with the properties *names*. A property that it lacks is null, as at the vendor."""
        shown = sorted({*ALWAYS, *names})
        return {
            "id": self.id,
            "properties": {name: self.properties.get(name) or None for name in shown},
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "archived": False,
        }


def contacts(seed: int, count: int, first_id: int = 51) -> list[Contact]:
    """Generate *count* contacts in the order of their IDs; the same for the same seed."""
    rng = random.Random(seed)
    return [_contact(rng, number, first_id) for number in range(count)]


def _contact(rng: random.Random, number: int, first_id: int) -> Contact:
    created = _FIRST_CREATED + timedelta(minutes=37 * number, milliseconds=rng.randrange(1000))
    updated = created + timedelta(seconds=rng.randrange(86_400))
    contact_id = str(first_id + ID_STEP * number)
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
