"""Names of the assets that flows update: one spelling each. Renaming one is a migration, see docs/operations.md."""

INVENTORY = "hub_inventory"
