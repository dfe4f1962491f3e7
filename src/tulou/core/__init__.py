"""The ground floor: types, settings, errors, stages, state and telemetry that every storey shares."""
