"""What only docker-compose.yml needs."""
