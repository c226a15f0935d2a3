"""Music retrieval across text, scores, performances and recordings."""

__version__ = "0.1.0"
