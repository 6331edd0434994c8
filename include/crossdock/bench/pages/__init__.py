"""The pages in Airflow's UI over a hub that has grown: `fill` writes its history, `visit` opens pages at a steady rate."""
