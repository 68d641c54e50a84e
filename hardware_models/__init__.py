"""What a Workload costs on hardware. Needs numpy, pydantic and yaml only."""
