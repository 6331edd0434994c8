"""Declared integrations: a file in `dags/integrations` becomes a `Sync`, and with that a DAG."""

from include.flows.declared.syncs import declared_sync, declared_syncs, mistakes

__all__ = ["declared_sync", "declared_syncs", "mistakes"]
