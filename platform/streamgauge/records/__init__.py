"""Records: from Kafka's log through Avro to columns, and what each can be rejected for. No sums are made here."""
