package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import tidemill.runtime.json.Types;

/**
 * From a handler's name to the handler: {@code package.Class} that implements an interface, or {@code package.Class::method}. What is wrong
 * with the code is told by the first invocation, as on Lambda; a class that cannot be made is told at once.
 */
final class Handlers {
    private final Payloads payloads;

    Handlers(Payloads payloads) {
        this.payloads = payloads;
    }

    /** @throws Fault when the class's initialiser or constructor threw */
    Handler load(String name, ClassLoader code) {
        int colons = name.lastIndexOf("::");
        String className = colons < 0 ? name : name.substring(0, colons);
        String method = colons < 0 ? null : name.substring(colons + 2);
        if (className.isEmpty() || method != null && method.isEmpty()) return failing(Fault.of("Invalid handler: `" + name + "'"));
        Class<?> found;
        try {
            found = Class.forName(className, true, code);
        } catch (ClassNotFoundException none) {
            return failing(Fault.classNotFound(none, className));
        } catch (NoClassDefFoundError incomplete) {
            return failing(Fault.loading(incomplete, className));
        } catch (Throwable thrown) {
            throw Fault.loading(thrown, className);
        }
        try {
            return method == null ? ofInterface(found) : ofMethod(found, method);
        } catch (Fault fault) {
            if (fault.fatal) throw fault;
            return failing(fault);
        } catch (Throwable thrown) {
            return failing(Fault.of(thrown, false));
        }
    }

    private static Handler failing(Fault fault) {
        return (invocation, output) -> {
            throw fault;
        };
    }

    private Handler ofInterface(Class<?> found) throws Exception {
        if (RequestStreamHandler.class.isAssignableFrom(found)) {
            RequestStreamHandler handler = (RequestStreamHandler) make(found);
            return (invocation, output) -> handler.handleRequest(new ByteArrayInputStream(invocation.event), output, invocation);
        }
        if (!RequestHandler.class.isAssignableFrom(found)) {
            throw Fault.of("Class does not implement an appropriate handler interface: " + found.getName());
        }
        Type[] types = Types.arguments(found, RequestHandler.class);
        if (types == null) throw Fault.of("Class " + found.getName() + " does not implement RequestHandler with concrete type parameters");
        for (Type type : types) {
            if (type instanceof TypeVariable && Types.raw(type) == Object.class) {
                throw Fault.of("Class " + found.getName() + " does not implement RequestHandler with concrete type parameters: parameter "
                    + type + " has no upper bound.");
            }
        }
        @SuppressWarnings("unchecked")
        RequestHandler<Object, Object> handler = (RequestHandler<Object, Object>) make(found);
        return payloads.handler(types[0], types[1], handler::handleRequest);
    }

    private Handler ofMethod(Class<?> found, String name) throws Exception {
        Method[] methods;
        try {
            methods = found.getMethods();
        } catch (NoClassDefFoundError incomplete) {
            throw Fault.method(incomplete, name, found);
        }
        List<Method> named = new ArrayList<>();
        for (Method method : methods) {
            if (method.getName().equals(name)) named.add(method);
        }
        // Of overloads the longest; a context at the end counts as one more, a compiler's bridge comes last.
        named.sort(Comparator.comparing(Method::isBridge).thenComparing(Handlers::weight, Comparator.reverseOrder()));
        for (Method method : named) {
            Handler handler = ofSignature(found, method);
            if (handler != null) return handler;
        }
        throw Fault.of("No public method named " + name + " with appropriate method signature found on class " + found.getName());
    }

    private static int weight(Method method) {
        Class<?>[] parameters = method.getParameterTypes();
        return parameters.length + (endsInContext(parameters) ? 1 : 0);
    }

    private static boolean endsInContext(Class<?>[] parameters) {
        return parameters.length > 0 && parameters[parameters.length - 1] == Context.class;
    }

    /** Null when the parameters are none a handler may have. */
    private Handler ofSignature(Class<?> found, Method method) throws Exception {
        Class<?>[] parameters = method.getParameterTypes();
        boolean context = endsInContext(parameters);
        int rest = parameters.length - (context ? 1 : 0);
        if (rest > 0 && (parameters[0] == InputStream.class || parameters[0] == OutputStream.class)) {
            return ofStreams(found, method, parameters, rest, context);
        }
        if (rest > 1 || rest == 1 && parameters[0] == Context.class) return null;
        Object instance = instance(found, method);
        Type input = rest == 1 ? Types.raw(parameters[0]) == parameters[0] ? method.getGenericParameterTypes()[0] : parameters[0] : null;
        Type output = method.getGenericReturnType();
        return payloads.handler(input, output, (event, about) -> {
            Object[] arguments = new Object[parameters.length];
            if (rest == 1) arguments[0] = event;
            if (context) arguments[rest] = about;
            return call(method, instance, arguments);
        });
    }

    private static Handler ofStreams(Class<?> found, Method method, Class<?>[] parameters, int rest, boolean context) throws Exception {
        boolean input = parameters[0] == InputStream.class;
        if (rest > 2 || rest == 2 && !(input && parameters[1] == OutputStream.class)) return null;
        Object instance = instance(found, method);
        return (invocation, output) -> {
            Object[] arguments = new Object[parameters.length];
            arguments[0] = input ? new ByteArrayInputStream(invocation.event) : output;
            if (rest == 2) arguments[1] = output;
            if (context) arguments[rest] = invocation;
            call(method, instance, arguments);
        };
    }

    private static Object instance(Class<?> found, Method method) throws Exception {
        method.setAccessible(true);
        return Modifier.isStatic(method.getModifiers()) ? null : make(found);
    }

    private static Object call(Method method, Object instance, Object[] arguments) {
        try {
            return method.invoke(instance, arguments);
        } catch (InvocationTargetException thrown) {
            throw Fault.<RuntimeException>raise(thrown.getCause() == null ? thrown : thrown.getCause());
        } catch (IllegalAccessException refused) {
            throw Fault.<RuntimeException>raise(refused);
        }
    }

    private static Object make(Class<?> found) throws Exception {
        Constructor<?> constructor;
        try {
            constructor = found.getConstructor();
        } catch (NoSuchMethodException none) {
            if (found.getEnclosingClass() != null && !Modifier.isStatic(found.getModifiers())) {
                throw new Exception("Class " + found.getName() + " cannot be instantiated because it is a non-static inner class");
            }
            throw new Exception("Class " + found.getName() + " has no public zero-argument constructor", none);
        }
        constructor.setAccessible(true);
        try {
            return constructor.newInstance();
        } catch (InvocationTargetException thrown) {
            throw Fault.of(thrown.getCause() == null ? thrown : thrown.getCause(), true);
        }
    }
}
