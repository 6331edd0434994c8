"""
A product's two forms, with its data twice (`current` and `staged`), and as a projection of one of them.

Most products are stored as the projection that is both. Only a product with staged changes is stored with its data twice.
"""

from copy import deepcopy

from crossdock.sandbox.commercetools.collection import Json

#: The fields of a projection that a product has in its `masterData`.
_DATA = frozenset(
    [
        "name",
        "description",
        "slug",
        "categories",
        "categoryOrderHints",
        "metaTitle",
        "metaDescription",
        "metaKeywords",
        "searchKeywords",
        "masterVariant",
        "variants",
        "attributes",
    ]
)
_CATALOGUE = frozenset({"published", "hasStagedChanges", "masterData"})


def as_product(document: Json) -> Json:
    """Make the product of a stored *document*: a product, or the projection that is both current and staged."""
    if "masterData" in document:
        return document
    data = {name: value for name, value in document.items() if name in _DATA}
    published = document.get("published", False)
    catalogue = {"published": published, "hasStagedChanges": False, "current": data, "staged": data}
    own = {name: value for name, value in document.items() if name not in _DATA | _CATALOGUE}
    return own | {"masterData": catalogue}


def as_projection(document: Json, *, staged: bool) -> Json:
    """Make the projection of a stored *document*: of a product, its current or its staged data."""
    if "masterData" not in document:
        return document
    catalogue = document["masterData"]
    own = {name: value for name, value in document.items() if name not in _CATALOGUE}
    flags = {name: catalogue[name] for name in ("published", "hasStagedChanges")}
    data: Json = catalogue["staged" if staged else "current"]
    return own | flags | data


def with_own_data(document: Json) -> Json:
    """Make the product of a stored *document*, with staged data of its own, which may be changed alone."""
    product = as_product(document)
    catalogue = product["masterData"]
    return product | {"masterData": catalogue | {"staged": deepcopy(catalogue["staged"])}}


def stored(product: Json, before: Json) -> Json:
    """Make what is stored of a changed *product*: as *before*, unless it now has its data twice."""
    catalogue = product["masterData"]
    catalogue["hasStagedChanges"] = catalogue["current"] != catalogue["staged"]
    if catalogue["hasStagedChanges"] or "masterData" in before:
        return product
    return as_projection(product, staged=False)
