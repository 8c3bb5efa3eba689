"""Files and programs that run the system in containers and on Kubernetes."""
