# Debian's Redis, for the chart:  docker build -f docker/redis.Dockerfile -t localhost/cryptoai/redis:0.1.0 docker
FROM debian:bookworm-slim
# hadolint ignore=DL3008 # Debian's stable release keeps one version and brings its security fixes
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner 10001 --group 10001 /data
LABEL org.opencontainers.image.title="Redis for CryptoAI" \
      org.opencontainers.image.licenses="BSD-3-Clause"
USER 10001:10001
WORKDIR /data
VOLUME /data
ENTRYPOINT ["redis-server"]
# Nothing is kept by default: what lies here can be made again from the tape. Who may connect is the network policy's business.
CMD ["--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--appendonly", "no"]
