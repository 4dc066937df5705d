"""
Every name that two programs share: API group, labels, annotations, ports, paths, environment, metrics.

No logic lives here. A name that appears in the chart, in a dashboard or in an alert is checked against this
module by ``tests/contract``.
"""

from typing import Final

# --- API ----------------------------------------------------------------------------------------------------
GROUP: Final = "onguard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MODEL_DEPLOYMENT: Final = "ModelDeployment"
MODEL_DEPLOYMENTS: Final = "modeldeployments"
DECISION: Final = "Decision"
DECISIONS: Final = "decisions"
MINIMUM_KUBERNETES: Final = (1, 32)
"""Named ports of native sidecars reach EndpointSlices, and ``preStop.sleep`` is on, only from here."""
FIELD_MANAGER: Final = "onguard"

# --- labels -------------------------------------------------------------------------------------------------
LABEL_INJECT: Final = "onguard.dev/inject"
"""On a namespace, value ``enabled``: pods created there pass the gate."""
LABEL_ARM: Final = "onguard.dev/arm"
"""On a pod: ``baseline`` or ``shadow``; without it the pod is the candidate arm."""
ARM_CANDIDATE: Final = "candidate"
ARM_BASELINE: Final = "baseline"
ARM_SHADOW: Final = "shadow"
LABEL_GUARDED_BY: Final = "onguard.dev/guarded-by"
"""On an injected pod: name of its ModelDeployment. Written by the gate, selected by the operator and PodMonitor."""
LABEL_MODEL_DEPLOYMENT: Final = "onguard.dev/model-deployment"
"""On objects that we create for a ModelDeployment (Jobs, Decisions, ConfigMaps, ControllerRevisions)."""
LABEL_REVISION: Final = "onguard.dev/revision"
"""On objects that belong to one revision of the model: the short revision digest."""
LABEL_POD_TEMPLATE_HASH: Final = "pod-template-hash"

# --- annotations --------------------------------------------------------------------------------------------
ANNOTATION_INJECTION: Final = "onguard.dev/injection"
"""On a pod: ``injected``, or the reason (one CamelCase word) why it starts without a sidecar."""
ANNOTATION_INJECT: Final = "onguard.dev/inject"
"""On a pod template, value ``disabled``: the user opts this pod out."""
ANNOTATION_MODEL_PORT: Final = "onguard.dev/model-port"
"""On an injected pod: the number of the model's own port."""
ANNOTATION_RESTARTED_AT: Final = "onguard.dev/restarted-at"
"""On a pod template: we restarted it (RFC 3339). Not part of a revision's identity."""
ANNOTATION_DECISION: Final = "onguard.dev/decision"
"""On what an act wrote (template, Job): name of the Decision that it carries out."""
ANNOTATION_PINNED: Final = "onguard.dev/pinned-images"
"""On a pod template: images that a rollback named by digest, by container, as written and as pinned; no identity."""
ANNOTATION_COPIES: Final = "onguard.dev/config-map-copies"
"""On a pod template: copies of ConfigMaps that a rollback named, and the user's own names; no identity."""
ANNOTATION_COPY_OF: Final = "onguard.dev/copy-of"
"""On an immutable ConfigMap of ours: name of the user's ConfigMap whose content it keeps."""
ANNOTATION_APPROVE: Final = "onguard.dev/approved-by"
"""On a Decision: who approved it (needs the verb ``approve`` on decisions)."""
ANNOTATION_LEARN_ATTEMPT: Final = "onguard.dev/learn-attempt"
"""On the ConfigMap of a learnt reference: the attempt that it belongs to."""
ANNOTATION_LEARNT: Final = "onguard.dev/learnt"
"""On the ConfigMap of a learnt reference: ``from/until`` (RFC 3339), requests, and revisions that served them."""
RESTART_ANNOTATIONS: Final = (ANNOTATION_RESTARTED_AT, "kubectl.kubernetes.io/restartedAt")
"""Template annotations that restart pods without changing the model."""
INJECTION_DONE: Final = "injected"

# --- containers, ports, files of an injected pod -------------------------------------------------------------
CONTAINER_WIRE: Final = "onguard-wire"
CONTAINER_ANALYST: Final = "onguard-analyst"
PORT_WIRE: Final = 15080
"""The wire's data port; carries the name of the port that it took over."""
PORT_HEALTH: Final = 15081
"""The wire answers /healthz and /readyz here, from its own event loop."""
PORT_ADMIN: Final = 15090
"""The analyst's /metrics, /counts, /healthz."""
PORT_NAME_ADMIN: Final = "onguard-admin"
PORT_NAME_HEALTH: Final = "onguard-health"
MODEL_PORT_NAME_PREFIX: Final = "og-"
"""The model's own port keeps its number under the name ``og-<number>``."""
VOLUME_SHARED: Final = "onguard-shared"
VOLUME_CONFIG: Final = "onguard-config"
VOLUME_PROFILE: Final = "onguard-profile"
DIR_SHARED: Final = "/run/onguard"
DIR_CONFIG: Final = "/etc/onguard/config"
DIR_PROFILE: Final = "/etc/onguard/profile"
FILE_LEDGER: Final = "ledger"
FILE_LEDGER_HTTP2: Final = "ledger-http2"
"""The analyst's own account of what it reads of HTTP/2 connections, in the wire's form."""
FILE_HANDOVER_SOCKET: Final = "handover.sock"
FILE_DRAIN_SOCKET: Final = "drain.sock"
KEY_SIDECAR_JSON: Final = "sidecar.json"
"""Key of the config ConfigMap for both containers (``onguard.sidecar_config``); the wire reads the next one."""
KEY_WIRE_CONF: Final = "wire.conf"
"""Key of the config ConfigMap for the wire: ``key=value`` lines, so that the wire needs no JSON parser."""

# --- environment of the sidecar (downward API and constants, set by the gate) ----------------------------------
ENV_UPSTREAM_PORT: Final = "ONGUARD_UPSTREAM_PORT"
ENV_POD_IP: Final = "ONGUARD_POD_IP"
ENV_POD_NAME: Final = "ONGUARD_POD_NAME"
ENV_POD_UID: Final = "ONGUARD_POD_UID"
ENV_NAMESPACE: Final = "ONGUARD_NAMESPACE"
ENV_MODEL: Final = "ONGUARD_MODEL"
ENV_REVISION: Final = "ONGUARD_REVISION"
ENV_ARM: Final = "ONGUARD_ARM"
ENV_CONFIG_DIR: Final = "ONGUARD_CONFIG_DIR"
ENV_PROFILE_PATH: Final = "ONGUARD_PROFILE_PATH"
ENV_SHARED_DIR: Final = "ONGUARD_SHARED_DIR"
ENV_GRACE_PERIOD: Final = "ONGUARD_GRACE_PERIOD_SECONDS"
ENV_MODEL_CONTAINER: Final = "ONGUARD_MODEL_CONTAINER"
ENV_MODEL_CPU_LIMIT: Final = "ONGUARD_MODEL_CPU_LIMIT_MILLICORES"
ENV_MODEL_MEMORY_LIMIT: Final = "ONGUARD_MODEL_MEMORY_LIMIT_BYTES"
ENV_LISTEN_HOST: Final = "ONGUARD_LISTEN_HOST"
ENV_WIRE_PORT: Final = "ONGUARD_WIRE_PORT"
ENV_HEALTH_PORT: Final = "ONGUARD_HEALTH_PORT"
ENV_WIRE_CONNECTIONS: Final = "ONGUARD_WIRE_MAX_CONNECTIONS"
"""Client connections that the wire holds at once."""
ENV_WIRE_IDLE: Final = "ONGUARD_WIRE_IDLE_SECONDS"
ENV_WIRE_WAITING: Final = "ONGUARD_WIRE_MAX_WAITING_BYTES"
"""Time without a byte in either direction after which the wire closes a connection."""
ENV_ADMIN_PORT: Final = "ONGUARD_ADMIN_PORT"
ENV_PROC_SHARED: Final = "ONGUARD_PROCESS_NAMESPACE_SHARED"

# --- environment of a retrain Job ----------------------------------------------------------------------------
ENV_JOB_MODEL: Final = "ONGUARD_MODEL"
ENV_JOB_DECISION: Final = "ONGUARD_DECISION"
ENV_JOB_CAUSE: Final = "ONGUARD_CAUSE"
ENV_JOB_EVIDENCE: Final = "ONGUARD_EVIDENCE"
VOLUME_EVIDENCE: Final = "onguard-evidence"
DIR_EVIDENCE: Final = "/var/run/onguard/evidence"
FILE_EVIDENCE: Final = "evidence.json"

# --- units ---------------------------------------------------------------------------------------------------
UNIT: Final = 1 << 20
"""Weight of one request in fixed point, so that sums over replicas are exact."""
EPOCH_S: Final = 5
"""Errors and latency are judged on wall-clock epochs of this many seconds: epoch id = floor(unix time / 5)."""
EPOCH_RING: Final = 64
"""Epochs that a sidecar keeps; /counts serves the last 60 closed ones."""
EPOCHS_SERVED: Final = 60
CONNECTION_REQUESTS: Final = 8
"""A client connection is judged as a unit of its arm by its first so many inference requests."""
CONNECTION_SETTLE_EPOCHS: Final = 2
"""A connection's verdict may still change so many epochs after the one it opened in; older rows are final."""
LATENCY_SLOTS: Final = 4
"""Latency objectives per ModelDeployment, each with a column of its own in an epoch."""
SCRAPE_S: Final = 15

# --- wire formats ------------------------------------------------------------------------------------------
PROTOCOL_AUTO: Final = "auto"
PROTOCOL_KSERVE_V1: Final = "kserve-v1"
PROTOCOL_OPEN_INFERENCE_V2: Final = "open-inference-v2"
PROTOCOL_OPEN_INFERENCE_GRPC: Final = "open-inference-grpc"
PROTOCOL_TF_SERVING: Final = "tf-serving"
PROTOCOL_SELDON_V1: Final = "seldon-v1"
PROTOCOL_MLFLOW: Final = "mlflow"
PROTOCOL_SAGEMAKER: Final = "sagemaker"
PROTOCOL_OPENAI: Final = "openai"
PROTOCOLS: Final = (
    PROTOCOL_AUTO,
    PROTOCOL_KSERVE_V1,
    PROTOCOL_OPEN_INFERENCE_V2,
    PROTOCOL_OPEN_INFERENCE_GRPC,
    PROTOCOL_TF_SERVING,
    PROTOCOL_SELDON_V1,
    PROTOCOL_MLFLOW,
    PROTOCOL_SAGEMAKER,
    PROTOCOL_OPENAI,
)
"""Values of ``spec.traffic.ports[].protocol``."""

# --- conditions of a ModelDeployment ---------------------------------------------------------------------------
CONDITION_READY: Final = "Ready"
CONDITION_TARGET_FOUND: Final = "TargetFound"
CONDITION_TRAFFIC_GUARDED: Final = "TrafficGuarded"
CONDITION_INJECTED: Final = "Injected"
CONDITION_SCRAPABLE: Final = "Scrapable"
CONDITION_REFERENCE_VALID: Final = "ReferenceValid"
CONDITION_HEALTHY: Final = "Healthy"
CONDITION_ACTIONS_ALLOWED: Final = "ActionsAllowed"
CONDITION_DRAIN_GUARANTEED: Final = "DrainGuaranteed"
CONDITION_ARMS_EXCHANGEABLE: Final = "ArmsExchangeable"

# --- metrics -------------------------------------------------------------------------------------------------
METRIC_PREFIX: Final = "onguard_"
# sidecar
METRIC_REQUESTS: Final = "onguard_requests_total"
METRIC_REQUEST_DURATION: Final = "onguard_request_duration_seconds"
METRIC_TIME_TO_FIRST_BYTE: Final = "onguard_time_to_first_byte_seconds"
METRIC_IN_FLIGHT: Final = "onguard_requests_in_flight"
METRIC_BYTES: Final = "onguard_bytes_total"
METRIC_CONNECTIONS: Final = "onguard_connections_total"
METRIC_CONNECTIONS_OPEN: Final = "onguard_connections_open"
METRIC_UPSTREAM_FAILURES: Final = "onguard_upstream_failures_total"
METRIC_WIRE_LIMIT: Final = "onguard_wire_limit"
METRIC_WIRE_USED: Final = "onguard_wire_used"
METRIC_WIRE_LIMIT_HITS: Final = "onguard_wire_limit_hits_total"
METRIC_CONNECTIONS_OPAQUE: Final = "onguard_connections_opaque_total"
METRIC_CONNECTIONS_HTTP2: Final = "onguard_connections_http2_total"
METRIC_TEE_REQUESTS: Final = "onguard_tee_requests_total"
"""Label ``outcome``: every request in exactly one of analysed, not_inference, sampled_out, truncated,
undecodable, dropped; label ``reason`` explains the last two."""
METRIC_ROWS: Final = "onguard_rows_total"
METRIC_FEATURE_PSI: Final = "onguard_feature_psi"
METRIC_FEATURE_PSI_CRITICAL: Final = "onguard_feature_psi_critical"
METRIC_FEATURE_KS: Final = "onguard_feature_ks"
METRIC_FEATURE_KS_CRITICAL: Final = "onguard_feature_ks_critical"
METRIC_FEATURE_MISSING: Final = "onguard_feature_missing_ratio"
METRIC_FEATURE_OUT_OF_RANGE: Final = "onguard_feature_out_of_range_ratio"
METRIC_FEATURE_BIN: Final = "onguard_feature_bin_total"
METRIC_MODEL_CPU: Final = "onguard_model_cpu_seconds_total"
METRIC_MODEL_MEMORY: Final = "onguard_model_memory_bytes"
METRIC_MODEL_THREADS: Final = "onguard_model_threads"
METRIC_MODEL_OPEN_FDS: Final = "onguard_model_open_fds"
METRIC_MODEL_CPU_LIMIT: Final = "onguard_model_cpu_limit_cores"
METRIC_MODEL_MEMORY_LIMIT: Final = "onguard_model_memory_limit_bytes"
METRIC_SERIES_DROPPED: Final = "onguard_series_dropped"
"""Series that the cap on series per pod left out of this page."""
METRIC_DECODE_ERRORS: Final = "onguard_decode_internal_errors_total"
METRIC_COLUMNS: Final = "onguard_columns_total"
"""Columns of decoded requests that do not fit the reference; label ``kind``: missing, extra, coerced."""
METRIC_LLM_TOKENS: Final = "onguard_llm_tokens_total"
METRIC_LLM_CHOICES: Final = "onguard_llm_choices_total"
METRIC_LLM_REFUSALS: Final = "onguard_llm_refusals_total"
METRIC_LLM_TTFT: Final = "onguard_llm_time_to_first_token_seconds"
METRIC_LLM_GAP: Final = "onguard_llm_token_gap_seconds"
METRIC_LLM_LONGEST_GAP: Final = "onguard_llm_longest_gap_seconds"
METRIC_SIDECAR_INFO: Final = "onguard_sidecar_info"
METRIC_SIDECAR_CONFIG_ERROR: Final = "onguard_sidecar_config_error"
METRIC_PROFILE_ERROR: Final = "onguard_sidecar_profile_error"
METRIC_SIDECAR_CPU: Final = "onguard_sidecar_cpu_seconds_total"
METRIC_SIDECAR_MEMORY: Final = "onguard_sidecar_memory_bytes"
# operator
METRIC_GUARDED: Final = "onguard_model_guarded"
METRIC_GUARDED_PODS: Final = "onguard_model_pods"
"""Label ``state``: guarded, unguarded, unreadable."""
METRIC_ALARM: Final = "onguard_alarm"
"""1 while the objective's detector is latched. Labels namespace, model, objective."""
METRIC_LOG_E: Final = "onguard_objective_log_e"
METRIC_LOG_THRESHOLD: Final = "onguard_objective_log_threshold"
METRIC_ARM_LOG_E: Final = "onguard_arm_log_e"
METRIC_ESTIMATED_ERROR: Final = "onguard_estimated_error"
"""Label ``bound``: value, low and high, and reference, the error that it is read against."""
METRIC_DECISIONS: Final = "onguard_decisions_total"
METRIC_EVALUATIONS: Final = "onguard_evaluations_total"
METRIC_EVALUATION_AGE: Final = "onguard_last_evaluation_timestamp_seconds"
METRIC_SCRAPES: Final = "onguard_scrapes_total"
METRIC_CONTAINER_CPU: Final = "onguard_model_container_cpu_cores"
METRIC_CONTAINER_MEMORY: Final = "onguard_model_container_memory_bytes"
# gate
METRIC_ADMISSIONS: Final = "onguard_admissions_total"
METRIC_ALERTS_RECEIVED: Final = "onguard_alerts_received_total"
METRIC_CERTIFICATE_EXPIRY: Final = "onguard_certificate_expiry_timestamp_seconds"
