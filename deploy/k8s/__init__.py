"""Kubernetes manifests for kustomize; README.md leads from an empty cluster to a call."""
