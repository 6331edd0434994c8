"""Name the assets that syncs update. If a name changes, Airflow forgets the asset's state and events."""


def asset_of(integration: str, dataset: str) -> str:
    """Name the asset that a sync of a stream updates: `hub_commercetools_inventory`."""
    return f"hub_{integration}_{dataset}"
