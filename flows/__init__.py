"""Everything that schedules, versions and talks to the user; the only place that imports Prefect and DVC."""
