package example;

import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a function sees of its invocation and its surroundings. */
public class Told implements RequestHandler<Map<String, String>, Map<String, Object>> {
    private static int calls;

    @Override
    public Map<String, Object> handleRequest(Map<String, String> event, Context context) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("calls", ++calls);
        told.put("request", context.getAwsRequestId());
        told.put("arn", context.getInvokedFunctionArn());
        told.put("name", context.getFunctionName());
        told.put("version", context.getFunctionVersion());
        told.put("memory", context.getMemoryLimitInMB());
        told.put("left", context.getRemainingTimeInMillis());
        told.put("group", context.getLogGroupName());
        told.put("stream", context.getLogStreamName());
        told.put("sameLogger", context.getLogger() == LambdaRuntime.getLogger());
        ClientContext client = context.getClientContext();
        if (client != null) {
            told.put("custom", client.getCustom());
            told.put("clientEnv", client.getEnvironment());
            told.put("title", client.getClient().getAppTitle());
        }
        CognitoIdentity identity = context.getIdentity();
        told.put("identity", identity == null ? "none" : identity.getIdentityId());
        told.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
        told.put("traceVariable", System.getenv("_X_AMZN_TRACE_ID"));
        told.put("heapMb", Runtime.getRuntime().maxMemory() >> 20);
        told.put("java", Runtime.version().feature());
        told.put("option", System.getProperty("option"));
        told.put("zone", java.util.TimeZone.getDefault().getID());
        told.put("charset", java.nio.charset.Charset.defaultCharset().name());
        told.put("folder", new File("").getAbsolutePath());
        try {
            told.put("variable", System.getenv("GREETING"));
            told.put("handler", System.getenv("_HANDLER"));
            told.put("variables", System.getenv().size() > 10 && !System.getenv().containsKey("LC_ALL"));
            told.put("child", firstLine(new ProcessBuilder("printenv", "GREETING").start().getInputStream()));
            told.put("relative", new BufferedReader(new FileReader("data/greeting.txt")).readLine());
            told.put("resource", firstLine(Told.class.getResourceAsStream("/data/greeting.txt")));
            told.put("newFile", File.createTempFile("some", "thing").length());
            told.put("loopback", InetAddress.getByName("localhost").isLoopbackAddress());
            told.put("tls", javax.net.ssl.SSLContext.getDefault().getProtocol());
        } catch (Exception failed) {
            throw new RuntimeException(failed);
        }
        return told;
    }

    private static String firstLine(java.io.InputStream from) throws Exception {
        return new BufferedReader(new InputStreamReader(from, "UTF-8")).readLine();
    }
}
