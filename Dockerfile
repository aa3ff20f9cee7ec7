# Three images, each one binary with the libraries that it loads: no shell, no package manager, user 65532, fine with a
# read-only root file system (the broker writes to /data alone).
#
#   docker build --target broker -t ottla-broker .        from source
#   docker build --target operator -t ottla-operator .
#   make images                                           from the binaries that cargo built here (targets *-local)

# -- from binaries: the context is a directory with what tools/stage-image.sh laid out
FROM scratch AS broker-local
COPY LICENSE* ottla-broker* /
USER 65532:65532
WORKDIR /data
EXPOSE 9092
ENTRYPOINT ["/usr/bin/ottla-broker"]

FROM scratch AS operator-local
COPY LICENSE* ottla-operator* /
USER 65532:65532
ENTRYPOINT ["/usr/bin/ottla-operator"]

FROM scratch AS verify-local
COPY LICENSE* ottla-verify* /
USER 65532:65532
ENTRYPOINT ["/usr/bin/ottla-verify"]

# -- from source
FROM rust:1.95-slim-bookworm AS build
# For librdkafka, which ottla-verify is built with.
RUN apt-get update && apt-get install -y --no-install-recommends g++ make
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin ottla-broker --bin ottla-operator --bin ottla-verify && \
    for binary in ottla-broker ottla-operator ottla-verify; do \
      tools/stage-image.sh /image/$binary target/release/$binary && cp LICENSE /image/$binary/; \
    done

FROM scratch AS operator
COPY --from=build /image/ottla-operator/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/ottla-operator"]

FROM scratch AS verify
COPY --from=build /image/ottla-verify/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/ottla-verify"]

FROM scratch AS broker
COPY --from=build /image/ottla-broker/ /
USER 65532:65532
WORKDIR /data
EXPOSE 9092
ENTRYPOINT ["/usr/bin/ottla-broker"]
