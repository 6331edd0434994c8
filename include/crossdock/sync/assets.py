"""Name the assets that syncs update. If a name changes, Airflow forgets the asset's state and events."""


def asset_of(entity: str) -> str:
    """Name the asset that a sync of *entity* updates: `hub_inventory`."""
    return f"hub_{entity}"
