# The executor's images. A clean clone is all that is needed:
#
#	docker build --target argoexec .            runs as root, as the controller expects by default
#	docker build --target argoexec-nonroot .    runs as user 8737
#
# `make image` builds and checks both, also where no registry is in reach.

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY scripts/setup-build.sh scripts/
COPY scripts/lib scripts/lib
COPY scripts/packages scripts/packages
RUN scripts/setup-build.sh
COPY . .
ARG ARGOEXEC_VERSION=
RUN make && scripts/image/root.sh build/argoexec /image

FROM scratch AS base
COPY --from=build /image/base/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["argoexec"]

FROM base AS argoexec-nonroot
COPY --from=build --chown=8737:8737 /image/bin/argoexec /bin/argoexec
USER 8737

FROM base AS argoexec
COPY --from=build /image/bin/argoexec /bin/argoexec
