"""The arithmetic: indicators, conditions, simulation, metrics. numpy and Numba, nothing else of this package."""
