"""
How a SKU is identified: in one way in orders, products and stock, or their records would not meet.

Blanks around it are removed; nothing else is changed. Upper and lower case, and the forms in which Unicode can write one
letter, are kept as the platform has them: it finds a record by them, and two SKUs that differ in case are two.
"""

from __future__ import annotations

from crossdock.core.printable import well_formed
from crossdock.sync.lineage import TRIM

#: The steps that cleanse a SKU, for `Lineage.cleansed` and `cleansed_column`.
SKU = (TRIM,)

#: commercetools' limit. A lower one would refuse what a shop can sell.
_MOST_CHARACTERS = 256

#: A well-formed SKU, or an empty one: printable, not too long.
WELL_FORMED = well_formed(0, _MOST_CHARACTERS)
