#!/usr/bin/env bash
# Puts a trained bundle into a claim of the cluster, where a TradingBot finds it as model.claim and model.path.
#
#   scripts/load_bundle.sh BUNDLE_DIR [NAMESPACE [NAME]]
#
# NAME is the folder inside the claim, by default the first twelve digits of the bundle's revision. A short-lived pod
# receives the files, verifies every hash of the manifest, and only then gives the folder its name: nobody sees half a
# bundle. Loading the same again does nothing; another bundle under a name that is taken is refused.
#
#   CLAIM         the claim to write to                        (default: cryptoai-bundles)
#   LOADER_IMAGE  an image of ours with python                 (default: what the operator in the cluster runs)
#   KUBECTL       the program to talk to the cluster with      (default: kubectl)
set -euo pipefail

fail() {
  echo "load_bundle.sh: $1" >&2
  exit 1
}

if [ $# -lt 1 ] || [ $# -gt 3 ]; then
  echo "usage: scripts/load_bundle.sh BUNDLE_DIR [NAMESPACE [NAME]]" >&2
  exit 64
fi
bundle=$1
namespace=${2:-default}
name=${3:-}
claim=${CLAIM:-cryptoai-bundles}
image=${LOADER_IMAGE:-}
kubectl=${KUBECTL:-kubectl}
pod=load-bundle-$$-$RANDOM

[ -f "$bundle/manifest.json" ] || fail "$bundle is no bundle: it has no manifest.json; train one with: cryptoai train"
[[ -z $name || $name =~ ^[A-Za-z0-9_-][A-Za-z0-9._-]*$ ]] || fail "NAME $name: use letters, digits, '.', '_', '-'; not a dot first"
"$kubectl" -n "$namespace" get persistentvolumeclaim "$claim" >/dev/null ||
  fail "namespace $namespace has no claim $claim; install the chart with --set bundles.create=true, or set CLAIM"
if [ -z "$image" ]; then
  image=$("$kubectl" get deployments --all-namespaces --selector app.kubernetes.io/name=cryptoai,app.kubernetes.io/component=operator \
    --output 'jsonpath={.items[*].spec.template.spec.containers[0].image}')
  image=${image%% *}
  [ -n "$image" ] || fail "no CryptoAI operator runs in this cluster; install the chart first, or set LOADER_IMAGE"
fi

read -r -d '' receive <<'PYTHON' || true
import os, shutil, socket, sys, tarfile
from pathlib import Path
from cryptoai.core.bundle import verify_bundle
from cryptoai.core.errors import BundleError

root, name = Path(sys.argv[1]), sys.argv[2]
part = root / f".loading-{socket.gethostname()}"
try:
    part.mkdir()
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            target = Path(os.path.normpath(part / member.name))
            if part not in target.parents:
                sys.exit(f"{member.name} lies outside the bundle")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
                sink.flush()
                os.fsync(sink.fileno())
    revision = verify_bundle(part).revision
    place = root / (name or revision[:12])
    if not place.exists():
        part.chmod(0o755)
        part.rename(place)
        print(f"loaded: path {place.name}, revision {revision}")
    elif verify_bundle(place).revision == revision:
        print(f"there already: path {place.name}, revision {revision}")
    else:
        sys.exit(f"{place.name} is taken by revision {verify_bundle(place).revision}; bundles do not change: give another NAME")
except (BundleError, OSError, tarfile.TarError) as error:
    sys.exit(f"not loaded: {error}")
finally:
    shutil.rmtree(part, ignore_errors=True)
PYTHON

clean_up() {
  "$kubectl" -n "$namespace" delete pod "$pod" --ignore-not-found --wait=false >/dev/null 2>&1 || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM

"$kubectl" -n "$namespace" create -f - >/dev/null <<POD
apiVersion: v1
kind: Pod
metadata:
  name: $pod
  labels: {app.kubernetes.io/name: cryptoai, app.kubernetes.io/component: load-bundle}
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 900
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: loader
      image: "$image"
      imagePullPolicy: IfNotPresent
      command: [python, -c, "import time; time.sleep(900)"]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 25m, memory: 64Mi}, limits: {memory: 512Mi}}
      volumeMounts: [{name: bundles, mountPath: /bundles}]
  volumes:
    - {name: bundles, persistentVolumeClaim: {claimName: "$claim"}}
POD
"$kubectl" -n "$namespace" wait --for=condition=Ready "pod/$pod" --timeout=120s >/dev/null || {
  "$kubectl" -n "$namespace" get events --field-selector "involvedObject.name=$pod" --output 'jsonpath={range .items[*]}{.message}{"\n"}{end}' | tail -n 3 >&2
  fail "the loading pod did not start within two minutes; its last events are above"
}
COPYFILE_DISABLE=1 tar --create --file - --directory "$bundle" . |
  "$kubectl" -n "$namespace" exec --stdin "$pod" -- python -c "$receive" /bundles "$name"
