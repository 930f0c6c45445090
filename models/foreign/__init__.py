"""Forecast models of others behind the seam `models.forecast.ForecastModel`."""
