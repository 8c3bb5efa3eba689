"""Ways to run the system: `local` on one machine as plain processes; containers and Kubernetes beside it."""
