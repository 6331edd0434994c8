"""Names of the assets that flows update: one spelling each. Renaming one makes Airflow forget its state and events."""


def asset_of(entity: str) -> str:
    """The asset that a sync of *entity* updates: `hub_inventory`."""
    return f"hub_{entity}"
