"""
The part of the vendor's GraphQL API that a hub reads: its lists, with the predicates and sorts of the REST lists.

Unlike the vendor's, every field may be null and every leaf is sent as it is stored: the data has flawed records on
purpose, and one of them should not fail its page.
"""

from functools import cache, lru_cache, partial
from typing import Any

import graphql

from crossdock.sandbox.commercetools.collection import Json
from crossdock.sandbox.commercetools.problems import VendorError
from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.faults import ANY_ROUTE
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import NotJsonError

_MOST_TOKENS = 2_000

_SCHEMA = """
    scalar Text
    scalar Long
    scalar Flag
    scalar DateTime
    scalar Json

    type Query {
        inventoryEntries(where: String, sort: [String!], limit: Int, offset: Int): InventoryEntries
        products(where: String, sort: [String!], limit: Int, offset: Int): Products
        standalonePrices(where: String, sort: [String!], limit: Int, offset: Int): StandalonePrices
        orders(where: String, sort: [String!], limit: Int, offset: Int): Orders
        customers(where: String, sort: [String!], limit: Int, offset: Int): Customers
    }
    type InventoryEntries { offset: Long count: Long total: Long results: [InventoryEntry] }
    type StandalonePrices { offset: Long count: Long total: Long results: [StandalonePrice] }
    type Products { offset: Long count: Long total: Long results: [Product] }
    type Orders { offset: Long count: Long total: Long results: [Order] }
    type Customers { offset: Long count: Long total: Long results: [Customer] }

    type Reference { typeId: Text id: Text }
    type LocalizedString { locale: Text value: Text }
    type Field { name: Text value: Json }
    type Custom { customFieldsRaw: [Field] }
    interface BaseMoney { type: Text currencyCode: Text centAmount: Long fractionDigits: Long }
    type Money implements BaseMoney { type: Text currencyCode: Text centAmount: Long fractionDigits: Long }
    type HighPrecisionMoney implements BaseMoney {
        type: Text currencyCode: Text centAmount: Long fractionDigits: Long preciseAmount: Long
    }
    type Price {
        id: Text key: Text value: BaseMoney country: Text customerGroupRef: Reference channelRef: Reference
        recurrencePolicyRef: Reference validFrom: DateTime validUntil: DateTime discounted: DiscountedPrice tiers: [Tier]
    }
    type DiscountedPrice { value: BaseMoney discountRef: Reference }
    type StandalonePrice {
        id: Text version: Long createdAt: DateTime lastModifiedAt: DateTime key: Text sku: Text value: BaseMoney
        country: Text customerGroupRef: Reference channelRef: Reference recurrencePolicyRef: Reference
        validFrom: DateTime validUntil: DateTime discounted: DiscountedPrice tiers: [Tier] active: Flag
    }

    type InventoryEntry {
        id: Text version: Long createdAt: DateTime lastModifiedAt: DateTime key: Text sku: Text
        supplyChannelRef: Reference quantityOnStock: Long availableQuantity: Long restockableInDays: Long
        expectedDelivery: DateTime custom: Custom
    }

    type Product {
        id: Text version: Long createdAt: DateTime lastModifiedAt: DateTime key: Text productTypeRef: Reference
        priceMode: Text masterData: ProductCatalogData
    }
    type ProductCatalogData { published: Flag hasStagedChanges: Flag current: ProductData staged: ProductData }
    type ProductData {
        nameAllLocales: [LocalizedString] slugAllLocales: [LocalizedString] descriptionAllLocales: [LocalizedString]
        categoriesRef: [Reference] masterVariant: ProductVariant variants: [ProductVariant]
    }
    type ProductVariant {
        id: Long sku: Text key: Text prices: [Price] attributesRaw: [Field] images: [Image]
    }
    type Image { url: Text label: Text dimensions: Dimensions }
    type Dimensions { width: Long height: Long }

    type Order {
        id: Text version: Long createdAt: DateTime lastModifiedAt: DateTime orderNumber: Text
        orderState: Text paymentState: Text shipmentState: Text customerId: Text customerEmail: Text country: Text
        totalPrice: Money shippingAddress: Address itemShippingAddresses: [Address]
        taxMode: Text taxedPrice: TaxedPrice shippingMode: Text shippingInfo: ShippingInfo shipping: [Shipping]
        discountOnTotalPrice: Discount lineItems: [LineItem] customLineItems: [CustomLineItem]
        returnInfo: [ReturnInfo] syncInfo: [SyncInfo] discountCodes: [DiscountCodeInfo] paymentInfo: PaymentInfo
        custom: Custom
    }
    type Customer {
        id: Text version: Long createdAt: DateTime lastModifiedAt: DateTime key: Text customerNumber: Text
        externalId: Text email: Text firstName: Text lastName: Text companyName: Text locale: Text
        isEmailVerified: Flag addresses: [Address] custom: Custom
    }
    type TaxedPrice { totalNet: Money totalGross: Money totalTax: Money }
    type ShippingInfo { price: Money discountedPrice: DiscountedLineItemPrice deliveries: [Delivery] }
    type Shipping { shippingKey: Text shippingInfo: ShippingInfo shippingAddress: Address }
    type Delivery {
        id: Text key: Text createdAt: DateTime items: [DeliveryItem] parcels: [Parcel] address: Address
    }
    type DeliveryItem { id: Text quantity: Long }
    type Parcel { id: Text key: Text createdAt: DateTime items: [DeliveryItem] trackingData: TrackingData }
    type TrackingData { trackingId: Text carrier: Text provider: Text providerTransaction: Text isReturn: Flag }
    type Discount { discountedAmount: BaseMoney }
    type DiscountedLineItemPrice { value: BaseMoney }
    type Portion { quantity: Long discountedPrice: DiscountedLineItemPrice }
    type Tier { minimumQuantity: Long value: BaseMoney }
    type LineItem {
        id: Text quantity: Long productId: Text nameAllLocales: [LocalizedString] price: Price variant: ProductVariant
        totalPrice: Money priceMode: Text lineItemMode: Text discountedPricePerQuantity: [Portion] custom: Custom
    }
    type CustomLineItem {
        id: Text quantity: Long slug: Text nameAllLocales: [LocalizedString] money: BaseMoney totalPrice: Money
        discountedPricePerQuantity: [Portion] custom: Custom
    }
    type ReturnInfo { items: [ReturnItem] returnTrackingId: Text returnDate: DateTime }
    interface ReturnItem {
        id: Text key: Text type: Text quantity: Long comment: Text shipmentState: Text paymentState: Text
        lastModifiedAt: DateTime createdAt: DateTime
    }
    type LineItemReturnItem implements ReturnItem {
        id: Text key: Text type: Text quantity: Long comment: Text shipmentState: Text paymentState: Text
        lastModifiedAt: DateTime createdAt: DateTime lineItemId: Text
    }
    type CustomLineItemReturnItem implements ReturnItem {
        id: Text key: Text type: Text quantity: Long comment: Text shipmentState: Text paymentState: Text
        lastModifiedAt: DateTime createdAt: DateTime customLineItemId: Text
    }
    type SyncInfo { channelRef: Reference externalId: Text syncedAt: DateTime }
    type DiscountCodeInfo { discountCodeRef: Reference state: Text }
    type PaymentInfo { paymentRefs: [Reference] }
    type Address {
        id: Text key: Text title: Text salutation: Text firstName: Text lastName: Text streetName: Text
        streetNumber: Text additionalStreetInfo: Text postalCode: Text city: Text region: Text state: Text
        country: Text company: Text department: Text building: Text apartment: Text pOBox: Text phone: Text
        mobile: Text email: Text additionalAddressInfo: Text
    }
"""

#: The path of the REST list with the same rows, by root field.
_LISTS = {
    "inventoryEntries": "inventory",
    "products": "products",
    "standalonePrices": "standalone-prices",
    "orders": "orders",
    "customers": "customers",
}


def route_of(request: Request) -> str:
    """Name the REST list that a query asks for, so that a fault script applies to both APIs; "*" if there is none."""
    try:
        return _first_list(str(request.json().get("query")))
    except (NotJsonError, graphql.GraphQLError):
        return ANY_ROUTE


def handle(lists: Any, request: Request) -> Response:
    """
    Answer a query.

    Args:
        lists: Makes the page for a REST path and its query parameters.
        request: The request.

    Raises:
        VendorError: 400, it is not a valid query.
        NotJsonError: the body is not a JSON object.

    """
    document = request.json()
    try:
        parsed = _parsed(str(document.get("query")))
    except graphql.GraphQLError as error:
        raise VendorError(400, f"Malformed query: {error.message}", "InvalidInput") from error
    if mistakes := graphql.validate(_schema(), parsed):
        raise VendorError(400, f"Malformed query: {mistakes[0].message}", "InvalidInput")
    result = graphql.execute(
        _schema(),
        parsed,
        context_value=lists,
        variable_values=document.get("variables"),
        operation_name=document.get("operationName"),
    )
    if not isinstance(result, graphql.ExecutionResult):  # only an async resolver would make it so
        raise TypeError("the resolvers are not async")
    return _response(result)


def _response(result: graphql.ExecutionResult) -> Response:
    if not result.errors:
        return Response(200, codec.encode({"data": result.data}))
    return json_response(200, {"data": result.data, "errors": [_error_document(error) for error in result.errors]})


def _error_document(error: graphql.GraphQLError) -> Json:
    vendor = error.original_error
    code = vendor.body["errors"][0]["code"] if isinstance(vendor, VendorError) else "General"
    return {"message": error.message, "path": error.path, "extensions": {"code": code}}


@lru_cache(maxsize=64)
def _parsed(text: str) -> graphql.DocumentNode:
    return graphql.parse(text, no_location=True, max_tokens=_MOST_TOKENS)


@lru_cache(maxsize=64)
def _first_list(text: str) -> str:
    for definition in _parsed(text).definitions:
        if isinstance(definition, graphql.OperationDefinitionNode):
            for selected in definition.selection_set.selections:
                if isinstance(selected, graphql.FieldNode):
                    return _LISTS.get(selected.name.value, ANY_ROUTE)
    return ANY_ROUTE


@cache
def _schema() -> graphql.GraphQLSchema:
    schema = graphql.build_schema(_SCHEMA)
    for name in _LISTS:
        _type(schema, "Query").fields[name].resolve = _resolve_list
    for owner in ("ProductData", "LineItem", "CustomLineItem"):
        for name, field in _type(schema, owner).fields.items():
            if name.endswith("AllLocales"):
                field.resolve = _resolve_locales
    _type(schema, "Custom").fields["customFieldsRaw"].resolve = _resolve_custom_fields
    _type(schema, "ProductVariant").fields["attributesRaw"].resolve = lambda variant, _info: variant.get("attributes")
    for kind in schema.type_map.values():
        for name, field in kind.fields.items() if isinstance(kind, graphql.GraphQLObjectType) else ():
            # GraphQL has `channelRef` and `paymentRefs` for what REST calls `channel` and `payments`.
            if name.endswith(("Ref", "Refs")):
                field.resolve = partial(_resolve_named, name.replace("Ref", ""))
    _type(schema, "ReturnItem").resolve_type = lambda item, *_: item.get("type") or "LineItemReturnItem"
    money: Any = schema.type_map["BaseMoney"]
    money.resolve_type = lambda value, *_: "HighPrecisionMoney" if "preciseAmount" in value else "Money"
    return schema


def _type(schema: graphql.GraphQLSchema, name: str) -> Any:
    return schema.type_map[name]


def _resolve_list(_root: Any, info: graphql.GraphQLResolveInfo[Any], **arguments: Any) -> Json:
    wants_total = any(
        isinstance(selected, graphql.FieldNode) and selected.name.value == "total" and _is_included(selected, info)
        for node in info.field_nodes
        if node.selection_set
        for selected in node.selection_set.selections
    )
    parameters = {name: _as_texts(value) for name, value in arguments.items() if value is not None}
    page: Json = info.context(_LISTS[info.field_name], parameters | {"withTotal": [str(wants_total)]})
    return page


def _is_included(node: graphql.FieldNode, info: graphql.GraphQLResolveInfo[Any]) -> bool:
    found = graphql.get_directive_values(graphql.GraphQLIncludeDirective, node, info.variable_values)
    return found is None or bool(found["if"])


def _as_texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _resolve_named(name: str, document: Json, _info: graphql.GraphQLResolveInfo[Any]) -> Any:
    return document.get(name)


def _resolve_locales(document: Json, info: graphql.GraphQLResolveInfo[Any]) -> Any:
    texts = document.get(info.field_name.removesuffix("AllLocales"))
    if not isinstance(texts, dict):
        return None
    return [{"locale": locale, "value": value} for locale, value in texts.items()]


def _resolve_custom_fields(custom: Json, _info: graphql.GraphQLResolveInfo[Any]) -> Any:
    return [{"name": name, "value": value} for name, value in (custom.get("fields") or {}).items()]
