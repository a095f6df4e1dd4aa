package tidemill.runtime;

import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Loads a function's classes: those at the root of its code, then {@code lib/*.jar}, then {@code java/lib/*.jar} of its layers, jars in the
 * order of their names. What this runtime has itself (the handler interfaces) comes first, as on Lambda.
 */
final class CodeLoader extends URLClassLoader {
    static {
        registerAsParallelCapable();
    }

    CodeLoader(String taskRoot, List<String> layerRoots) throws MalformedURLException {
        super(places(taskRoot, layerRoots), ClassLoader.getSystemClassLoader());
    }

    private static URL[] places(String taskRoot, List<String> layerRoots) throws MalformedURLException {
        List<URL> places = new ArrayList<>();
        places.add(place(taskRoot + "/"));
        addJars(taskRoot + "/lib", places);
        for (String root : layerRoots) addJars(root + "/java/lib", places);
        return places.toArray(new URL[0]);
    }

    private static void addJars(String folder, List<URL> places) throws MalformedURLException {
        String[] names = new File(folder).list((dir, name) -> name.endsWith(".jar"));
        if (names == null) return;
        Arrays.sort(names);
        for (String name : names) places.add(place(folder + "/" + name));
    }

    /** {@link File#toURI} would ask the file system of each. */
    private static URL place(String path) throws MalformedURLException {
        return new URL("file", null, -1, path.replace("%", "%25").replace("#", "%23").replace("?", "%3F"));
    }
}
