// What ComfyUI's editor gives a module of ours; it ships no types of its own.

declare module "*/scripts/app.js" {
  export const app: any;
}

declare module "*/scripts/api.js" {
  export const api: any;
}
