# Redis as the stack wants it: not root, the append-only file in a folder that a named volume can take over with its
# owner.  The official image starts as root to change the owner of /data; ours has no capability to do that.
ARG REDIS_IMAGE=redis:7
FROM ${REDIS_IMAGE}
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/voice-redis
COPY deploy/compose/healthy.sh /usr/local/bin/
WORKDIR /var/lib/voice-redis
USER 10001:10001
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.title="voice-redis" \
      org.opencontainers.image.description="Redis 7 for docker-compose.yml, not run by root" \
      org.opencontainers.image.version="0.1.0"
# -e: an error (still loading its file) is no answer.
HEALTHCHECK --interval=1s --timeout=15s --start-period=30s --retries=3 CMD ["bash", "/usr/local/bin/healthy.sh", "redis-cli", "-e", "ping"]
CMD ["redis-server", "--appendonly", "yes"]
