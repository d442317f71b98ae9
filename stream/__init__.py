"""Live engagement metrics: app events in Kafka become exact DAU, stickiness, session, CSAT and NPS gauges."""
