"""Programs that only docker-compose.yml runs."""
