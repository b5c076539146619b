"""Events that come in over HTTP: read, held against the contract, and given to Kafka. No question is answered here."""
