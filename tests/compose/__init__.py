"""`make test-compose`: docker-compose.yml on a real Docker engine, from the build to `down`."""
