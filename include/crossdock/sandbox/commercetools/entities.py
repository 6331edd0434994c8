"""Each kind of resource: the fields that a query may use, and the fields that have an index."""

from dataclasses import dataclass

_OF_ALL = "id version createdAt lastModifiedAt createdBy lastModifiedBy custom key "


@dataclass(frozen=True)
class Entity:
    #: The segment of its path, and its name everywhere else.
    name: str
    #: Its name in messages.
    title: str
    fields: frozenset[str]
    #: The fields that have an index.
    lookups: tuple[str, ...]
    #: The fields for `/{name}={value}` paths, by the name in the path.
    paths: dict[str, str]


def _entity(name: str, title: str, fields: str, lookups: tuple[str, ...], paths: dict[str, str]) -> Entity:
    return Entity(name, title, frozenset((_OF_ALL + fields).split()), lookups, paths)


INVENTORY = _entity(
    "inventory",
    "InventoryEntry",
    """sku supplyChannel quantityOnStock availableQuantity minCartQuantity maxCartQuantity restockableInDays
    expectedDelivery reservationExpirationInMinutes stockLevels""",
    ("sku", "key"),
    {"key": "key"},
)
PRODUCTS = _entity(
    "product-projections",
    "ProductProjection",
    """productType name description slug categories categoryOrderHints metaTitle metaDescription metaKeywords
    searchKeywords hasStagedChanges published masterVariant variants taxCategory state reviewRatingStatistics
    priceMode attributes masterData""",
    ("key",),
    {"key": "key"},
)
PRICES = _entity(
    "standalone-prices",
    "StandalonePrice",
    "sku value country customerGroup channel validFrom validUntil tiers discounted staged active recurrencePolicy",
    ("sku", "key"),
    {"key": "key"},
)
ORDERS = _entity(
    "orders",
    "Order",
    """orderNumber purchaseOrderNumber customerId customerEmail customerGroup anonymousId businessUnit store
    lineItems customLineItems totalPrice taxedPrice taxedShippingPrice discountOnTotalPrice taxMode inventoryMode
    billingAddress shippingAddress shippingMode shippingInfo shipping discountCodes refusedGifts orderState
    shipmentState paymentState state syncInfo returnInfo paymentInfo cart quote locale country origin completedAt
    itemShippingAddresses shippingKey priceRoundingMode taxRoundingMode taxCalculationMode""",
    ("orderNumber", "customerId"),
    {"order-number": "orderNumber"},
)
CUSTOMERS = _entity(
    "customers",
    "Customer",
    """customerNumber externalId email lowercaseEmail firstName lastName middleName title dateOfBirth companyName
    vatId addresses defaultShippingAddressId shippingAddressIds defaultBillingAddressId billingAddressIds
    isEmailVerified customerGroup customerGroupAssignments locale salutation stores authenticationMode""",
    ("key", "email"),
    {"key": "key"},
)

ENTITIES = {entity.name: entity for entity in (INVENTORY, PRODUCTS, PRICES, ORDERS, CUSTOMERS)}
