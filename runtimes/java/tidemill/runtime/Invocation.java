package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.util.LinkedHashMap;
import java.util.Map;
import tidemill.runtime.json.JsonReader;

/** One invocation: its event, and the context its handler sees. */
final class Invocation implements Context {
    final String id;
    final byte[] event;
    final String trace;
    private final String arn;
    private final long deadlineMs;
    private final CognitoIdentity identity;
    private final ClientContext client;

    Invocation(RuntimeApi.Reply next) {
        id = next.header("lambda-runtime-aws-request-id");
        event = next.body;
        trace = next.header("lambda-runtime-trace-id");
        arn = next.header("lambda-runtime-invoked-function-arn");
        deadlineMs = Long.parseLong(next.header("lambda-runtime-deadline-ms"));
        identity = identity(object(next.header("lambda-runtime-cognito-identity")));
        client = client(object(next.header("lambda-runtime-client-context")));
    }

    private static Map<?, ?> object(String text) {
        if (text == null || text.isEmpty()) return null;
        Object read = JsonReader.read(text);
        return read instanceof Map ? (Map<?, ?>) read : null;
    }

    private static String text(Map<?, ?> from, String name) {
        Object value = from.get(name);
        return value == null ? null : value.toString();
    }

    private static Map<String, String> texts(Object from) {
        if (!(from instanceof Map)) return null;
        Map<String, String> texts = new LinkedHashMap<>();
        ((Map<?, ?>) from).forEach((name, value) -> texts.put(name.toString(), value == null ? null : value.toString()));
        return texts;
    }

    private static CognitoIdentity identity(Map<?, ?> given) {
        if (given == null) return null;
        return new CognitoIdentity() {
            @Override
            public String getIdentityId() {
                return text(given, "cognitoIdentityId");
            }

            @Override
            public String getIdentityPoolId() {
                return text(given, "cognitoIdentityPoolId");
            }
        };
    }

    private static ClientContext client(Map<?, ?> given) {
        if (given == null) return null;
        Client client = given.get("client") instanceof Map ? application((Map<?, ?>) given.get("client")) : null;
        Map<String, String> custom = texts(given.get("custom"));
        Map<String, String> environment = texts(given.get("env"));
        return new ClientContext() {
            @Override
            public Client getClient() {
                return client;
            }

            @Override
            public Map<String, String> getCustom() {
                return custom;
            }

            @Override
            public Map<String, String> getEnvironment() {
                return environment;
            }
        };
    }

    private static Client application(Map<?, ?> given) {
        return new Client() {
            @Override
            public String getInstallationId() {
                return text(given, "installation_id");
            }

            @Override
            public String getAppTitle() {
                return text(given, "app_title");
            }

            @Override
            public String getAppVersionName() {
                return text(given, "app_version_name");
            }

            @Override
            public String getAppVersionCode() {
                return text(given, "app_version_code");
            }

            @Override
            public String getAppPackageName() {
                return text(given, "app_package_name");
            }
        };
    }

    @Override
    public String getAwsRequestId() {
        return id;
    }

    @Override
    public String getLogGroupName() {
        return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
    }

    @Override
    public String getLogStreamName() {
        return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
    }

    @Override
    public String getFunctionName() {
        return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
    }

    @Override
    public String getFunctionVersion() {
        return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
    }

    @Override
    public String getInvokedFunctionArn() {
        return arn;
    }

    @Override
    public CognitoIdentity getIdentity() {
        return identity;
    }

    @Override
    public ClientContext getClientContext() {
        return client;
    }

    @Override
    public int getRemainingTimeInMillis() {
        return (int) Math.max(0, Math.min(deadlineMs - System.currentTimeMillis(), Integer.MAX_VALUE));
    }

    @Override
    public int getMemoryLimitInMB() {
        return Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
    }

    @Override
    public LambdaLogger getLogger() {
        return FunctionLog.shared();
    }

    @Override
    public String getXrayTraceId() {
        return trace;
    }
}
