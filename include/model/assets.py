"""Names of the assets that flows update: one spelling each. Renaming one is a migration, see docs/operations.md."""


def asset_of(entity: str) -> str:
    """The asset that a sync of *entity* updates: `hub_inventory`."""
    return f"hub_{entity}"
